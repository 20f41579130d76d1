# Everything is a nox session (see noxfile.py); this only makes sure that nox is there.

.PHONY: test test-rbd test-san demo clean

test: .venv/ready
	.venv/bin/nox

test-rbd: .venv/ready
	.venv/bin/nox -s rbd

test-san: .venv/ready
	.venv/bin/nox -s san

demo: .venv/ready
	.venv/bin/nox -s demo

# The first Python that is recent enough and really starts: a shim of pyenv may not.
.venv/ready: constraints.txt
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	test -n "$$python" || { echo "Python 3.11 or later is needed: apt-get install python3 python3-venv" >&2; exit 1; }; \
	if ! $$python -c 'import ensurepip' 2>/dev/null; then \
	    if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	        apt-get update -qq && apt-get install -y -qq python3-venv; \
	    else \
	        echo "Python's venv is needed: sudo apt-get install python3-venv" >&2; exit 1; \
	    fi; \
	fi; \
	echo "Setting up .venv with $$($$python --version)"; \
	$$python -m venv .venv && .venv/bin/pip install --quiet --constraint constraints.txt nox && touch $@

clean:
	rm -rf .venv .nox
