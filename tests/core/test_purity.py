"""The core decides anywhere: it needs the standard library only, and nothing that reaches outside.

Shown twice.  In a fresh interpreter that finds nothing but the standard library and the core, and
refuses what reaches outside, every decision is made.  And the text of each module is read, because
a decision takes only one of the ways through it.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import imagevol_core

CORE = Path(imagevol_core.__file__).parent
MODULES = sorted(CORE.rglob("*.py"))

BARRED = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "sys",
}
BARRED |= {"tempfile", "threading", "time"}
BARRED_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}

PUBLIC = {name: getattr(imagevol_core, name) for name in imagevol_core.__all__}
FAST = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
STORE_HOST = (
    "StoreHost(name='a', address=None, loopback=False, lock_path=None, rootwrap_config='/b', "
    "rootwrap_config_exists=False, privsep_helper='c', privsep_helper_exists=False)"
)
A_FINDING = (
    "Finding(kind='k', subjects=(Subject('volume', 'v'),), certainty=Certainty.SURE, text='it is so', repair=())"
)
DECISIONS = {
    "named_volume_ids": f"named_volume_ids(Image(id='i', locations=(ImageLocation('cinder://fast/{FAST}'),)))",
    "parse_location": f"parse_location('cinder://fast/{FAST}')",
    "is_store_name": "is_store_name('fast')",
    "is_plain_url": "is_plain_url('http://a:b@c')",
    "is_secret_name": "is_secret_name('password')",
    "shown_url": "shown_url('s3://a:b@c')",
    "shown_value": "shown_value('cinder_volume_type', 'ssd')",
    "without_secrets": "without_secrets('password=x http://a:b@c')",
    "without_userinfo": "without_userinfo('http://a:b@c')",
    "gib_for": "gib_for(2**30 + 1)",
    "image_fits": "image_fits(Image(id='i', size_bytes=5), size_gib=1)",
    "least_size_bytes": "least_size_bytes(Image(id='i', size_bytes=5))",
    "virtual_size_bytes": "virtual_size_bytes(Image(id='i', virtual_size_bytes=5))",
    "least_volume_gib": "least_volume_gib(Image(id='i', size_bytes=5))",
    "next_size_gib": "next_size_gib(2**40, current_gib=1)",
    "decide_reading": "decide_reading(Volume(id='v', size_gib=1), project_id='p')",
    "decide_attach_retry": "decide_attach_retry(Volume(id='v', size_gib=1, status='in-use'))",
    "patience_seconds": "patience_seconds(5)",
    "decide_adding": "decide_adding(Volume(id='v', size_gib=1), project_id='p', requester=Requester(project_id='q'))",
    "decide_deletion": "decide_deletion(Volume(id='v', size_gib=1), project_id='p')",
    "decide_clone": f"""decide_clone(
        Image(
            id='i', status='active', owner='p', disk_format='raw', container_format='bare',
            size_bytes=5, locations=(ImageLocation('cinder://fast/{FAST}'),),
        ),
        target=Volume(id='t', project_id='p', host='h@fast#fast', size_gib=1, encrypted=False),
        volumes=[Volume(
            id='{FAST}', project_id='p', host='h@fast#fast', size_gib=1, status='available',
            encrypted=False, metadata={{'image_id': 'i', 'image_size': '5'}},
        )],
        backend=Backend(),
        settings=CloneSettings(allowed_direct_url_schemes=('cinder',)),
    )""",
    "cache_key": "cache_key(Volume(id='t', size_gib=1, host='h@fast#fast'))",
    "checksum_for": "checksum_for('ab' * 32 + '  disk.img', 'disk.img')",
    "parse_digest": "parse_digest('md5:8d777f385d3dfec8815d20f7496026dc')",
    "partition_faults": "partition_faults([PartitionEntry(boot=1, kind=0, start=(0, 0, 0), start_lba=0)] * 4)",
    "decide_freshness": """decide_freshness(
        Image(id='i', digest=Digest('md5', '0f')),
        entry=CacheEntry(volume_id='v', image_id='i', size_gib=1, digest=Digest('md5', '0f')),
    )""",
    "plan_store_copy": f"""plan_store_copy(StoreCopyFacts(
        image=Image(id='i', status='active', size_bytes=5, locations=(ImageLocation('cinder://fast/{FAST}'),)),
        stores=('fast',), to_store='slow', move=True,
        catalogue=StoreCatalogue(stores=(Store(name='fast', kind='cinder'), Store(name='slow', kind='file'))),
    ))""",
    "decide_store_removal": """decide_store_removal(KeptCopy(
        image=Image(id='i', status='active'), stores=('fast', 'slow'), kept='fast', removed='slow', verified=True,
    ))""",
    "plan_admission": """plan_admission(
        [CacheEntry(volume_id='v', image_id='i', size_gib=1)], newcomer_gib=1, limits=CacheLimits(max_gib=1)
    )""",
    "is_template": "is_template(Volume(id='v', size_gib=1))",
    "template_name": "template_name('e38f')",
    "is_proven_template": "is_proven_template(Volume(id='v', size_gib=1), admin_metadata={})",
    "template_proof": "template_proof(volume_id='v', image_id='i')",
    "decide_template": """decide_template(
        Image(id='i', status='active', visibility='public', virtual_size_bytes=5),
        target=Volume(id='t', size_gib=1, encrypted=False), template=None, settings=TemplateSettings(enabled=True),
    )""",
    "plan_creation": """plan_creation(
        Image(id='i', status='active', disk_format='raw', size_bytes=5),
        target=Volume(id='t', host='h@fast#fast', size_gib=1, encrypted=False), volumes=(), backend=Backend(),
        clone_settings=CloneSettings(), cache=ImageCache(enabled=True, internal_tenant=True),
    )""",
    "foresee": """foresee(*[plan_creation(
        Image(id='i', status='active', disk_format='raw', size_bytes=5),
        target=Volume(id='t', host='h@fast#fast', size_gib=1, encrypted=False), volumes=(), backend=Backend(),
        clone_settings=CloneSettings(), policy=policy,
    ) for policy in (Policy.STRICT, Policy.UPSTREAM)])""",
    "step_cost": """step_cost(
        CreationStep(way=Way.COPY, extend_to_gib=1), image=Image(id='i', size_bytes=5),
        target=Volume(id='t', size_gib=1), sources=(),
    )""",
    "expected_seconds": "expected_seconds(StepCost(effort=Effort.INSTANT), Rates(host='h', clone_seconds=2.0))",
    "plan_upload": """plan_upload(
        Volume(id='v', size_gib=1, encrypted=False),
        image=Image(id='i', owner='p', disk_format='raw', container_format='bare'),
        volume_type=VolumeType(name='fast'), base_image_id=None, requester=Requester(project_id='p'),
        settings=UploadSettings(use_cinder_backend=True),
    ).steps""",  # not the whole plan: a set is printed in an order of its own
    "needs_conversion": "needs_conversion('qcow2')",
    "decide_zeros": "decide_zeros(CopyTarget(path='/dev/vdb', size_bytes=GIB, zero=FreshThin(path='/dev/vdb')))",
    "plan_copy": """plan_copy(
        CopySource(path='/image', format='qcow2', virtual_size_bytes=GIB),
        target=CopyTarget(path='/dev/vdb', size_bytes=GIB, zero=FreshThin(path='/dev/vdb')),
    )""",
    "check_image_safety": "check_image_safety(Inspection(formats=('qcow2',)), declared_format='raw')",
    "audit": """tuple(audit(
        images=[Image(id='i', status='active')], volumes=[Volume(id='v', size_gib=1)],
        settings=AuditSettings(now=__import__('datetime').datetime(2026, 1, 1, tzinfo=__import__('datetime').UTC)),
    ))""",
    "recorded_image": "recorded_image(Volume(id='v', size_gib=1))",
    "total_reclaimable_bytes": """total_reclaimable_bytes(
        [Finding(kind='k', subjects=(), certainty=Certainty.SURE, text='t', repair=())]
    )""",
    "check_location": """check_location(
        Volume(id='v', size_gib=1, volume_type='b'),
        catalogue=StoreCatalogue(stores=(Store(name='a', kind='cinder', volume_type='b'),)),
    )""",
    "upload_headers": "upload_headers(store='fast', base_image_id='i', size_bytes=5)",
    "check_put": "check_put(PutWishes(store='a', store_names=('b',), owner='c', owner_exists=False))",
    "diagnose": "diagnose(DoctorFacts(host=DoctorHost(becomes_root=None, conversion_directory='/a'), "
    "services=(DoctorService(name='image', url='http://a', clock_seconds=9),), access=DoctorAccess(), "
    "glance=DoctorGlance(), backend=DoctorBackend(name='a', described=True), "
    "trial=DoctorTrial(rates=Rates(host='a'), hashing_algorithm='sha512')))",
    "check_host": f"check_host({STORE_HOST}, store='fast')",
    "check_trial": f"check_trial(StoreTrial(host={STORE_HOST}, directories={{'/a': None}}), store='fast')",
    "check_stores": """check_stores(
        StoreCatalogue(stores=(Store(name='fast', kind='cinder', volume_type='ssd'),), default='fast'),
        credentials={'fast': ['cinder_store_password']}, volume_types=['hdd'],
    )""",
    "is_associated": "is_associated(Store(name='a', kind='cinder'), volume_type='b', default_volume_type='b')",
    "store_of_location": """store_of_location(
        ImageLocation('cinder://[', {'store': 'a'}), policy=Policy.UPSTREAM,
        catalogue=StoreCatalogue(stores=(Store(name='a', kind='cinder'),)),
    )""",
    "select_stores": """select_stores(
        StoreCatalogue(stores=(Store(name='a', kind='cinder'),)), store_header=None,
        base_image=Image(id='i', locations=(ImageLocation('x', {'store': 'a'}),)),
    )""",
    "plan_location": """plan_location(
        ImageLocation('cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'), volume_type='ssd',
        catalogue=StoreCatalogue(stores=(Store(name='a', kind='cinder', volume_type='ssd'),)),
    )""",
    "plan_added_location": """plan_added_location(
        ImageLocation('s3://a@['), catalogue=StoreCatalogue(stores=()), volume_type=NotFound(), policy=Policy.UPSTREAM
    )""",
    "plan_image": """plan_image(
        Image(id='i', locations=(ImageLocation('s3://k@h/b'),)), catalogue=StoreCatalogue(stores=()),
        volume_types={}, policy=Policy.UPSTREAM,
    )""",
    "plan_migration": """list(plan_migration(
        [Image(id='i', locations=(ImageLocation('cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'),))],
        catalogue=StoreCatalogue(stores=()), volume_types=lambda ids: dict.fromkeys(ids, NoAnswer('down')),
    ))""",
    "plan_relocation": """plan_relocation(
        Image(id='i', status='active', locations=(ImageLocation('cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'),)),
        wanted=(ImageLocation('cinder://a/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1', {'store': 'a'}),),
        catalogue=StoreCatalogue(stores=(Store(name='a', kind='cinder', volume_type='ssd'),)),
        volume_types={'9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1': 'ssd'},
    )""",
    "decide_reclaim": """decide_reclaim(
        AttachmentFacts(
            id='a', device=ProcessRecord(boot_id='0' * 36, namespaces='1.2', pid=7, started=123).to_text()
        ),
        here=ProcessRecord(boot_id='0' * 36, namespaces='1.2', pid=8, started=456),
        running=RunningProcess(exists=False),
    )""",
    "plan_repairs": "plan_repairs([])",
    "found_again": "found_again(FINDING, [FINDING])".replace("FINDING", A_FINDING),
    "needs_clone": "needs_clone(RepairStep(RepairAction.SET_READ_ONLY, Subject('volume', 'v')))",
    "decide_repair_step": f"""decide_repair_step(RepairStepFacts(
        step=RepairStep(RepairAction.SET_READ_ONLY, Subject('volume', 'v')), planned={A_FINDING}, found=None,
        settings=AuditSettings(
            now=__import__('datetime').datetime(2026, 1, 1, tzinfo=__import__('datetime').UTC),
        ),
    ))""",
    "plan_pruning": """plan_pruning(
        [Template(entry=CacheEntry(volume_id='v', image_id='i', size_gib=1), status='available', readonly=True)],
        images={'i': NotFound()},
        now=__import__('datetime').datetime(2026, 1, 1, tzinfo=__import__('datetime').UTC),
    )""",
    "may_serve": "may_serve(VolumeType(name='t', extra_specs={'volume_backend_name': 'b'}), backend_name='c')",
    "plan_warming": """plan_warming(
        [WarmWish(image=Image(id='i'), target=Volume(id='t', size_gib=1), pools=(WarmPool(name='h@b#p'),))],
        templates=(),
    )""",
    "unfinished_imports": "unfinished_imports(Image(id='i'))",
    "printed_location": "printed_location(ImageLocation('cinder://a@b', {'store': 'c'}))",
    "relocated": "relocated([ImageLocation('cinder://a')], [])",
    "decide_process": "decide_process(ProcessRecord(boot_id='b', namespaces='1.2', pid=3, started=4), here=None)",
    "holder_of": "holder_of(AttachmentFacts(id='a', status='attaching'), maker=None)",
    "decide_remains": """decide_remains(
        Volume(id='v', size_gib=1, metadata=VolumeOrigin(procedure='put').to_volume()), here=None,
        now=__import__('datetime').datetime(2026, 1, 1, tzinfo=__import__('datetime').UTC),
    )""",
    "unanswered_attachments": "unanswered_attachments([])",
    "decide_removal": """decide_removal(
        Volume(id='v', size_gib=1), remains=decide_remains(
            Volume(id='v', size_gib=1), here=None, named=True,
            now=__import__('datetime').datetime(2026, 1, 1, tzinfo=__import__('datetime').UTC),
        ),
    )""",
    "plan_store_upgrade": """plan_store_upgrade(
        {'glance_store': {'stores': 'cinder', 'default_store': 'cinder'}}, names={'cinder': 'a'},
        default_volume_type='b',
    )""",
    "read_location": "read_location('cinder://fast/v')",
    "read_metadata": "read_metadata({'image_size': 'lots'})",
    "choose_volume_type": "choose_volume_type('a', [PlacedType(name='t')], pools={'h@a#p': None})",
    "validate": "validate(ValidationFacts(name='fast', seen={'read-back': Seen(wrong='x')}))",
    "evaluate": "evaluate([], None)",
    "first_match": """first_match(
        [Choice(id='a', text='b', source='c', applies=lambda facts: (True, 'd'), outcome=1)], None
    )[1]""",
    "every_match": """every_match(
        [Choice(id='a', text='b', source='c', applies=lambda facts: (True, 'd'), outcome=1)], None
    )[1]""",
    "failed": "failed([Verdict('a', Result.FAILS, None, 'no')])",
    "rule_tables": "[rule.id for table in rule_tables() for rule in table.rules]",
    "ImageVolumeMetadata": """ImageVolumeMetadata.from_volume(ImageVolumeMetadata(
        image_id='i', image_owner='p', size_bytes=5, digest=Digest('sha512', '0f'),
    ).to_volume())""",
}

FRESH_INTERPRETER = """
import importlib, pkgutil, sys

# Innocent, but they import some of what is barred for themselves: so they come first.
import collections.abc, dataclasses, datetime, enum, functools, inspect, math, os, re, typing
import urllib.parse

class Environment:
    def __getattribute__(self, name):
        raise AssertionError("the environment was asked")
    __getitem__ = __contains__ = __iter__ = __getattribute__

os.environ = os.environb = os.getenv = Environment()

class Bar:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in BARRED or root not in {*sys.stdlib_module_names, "imagevol_core"}:
            raise ImportError(f"{name} is barred")

def refuse_outside(event, arguments):
    if event == "open" or event.partition(".")[0] in BARRED:
        raise AssertionError(f"a decision reached outside: {event} {arguments}")

for name in [name for name in sys.modules if name.partition(".")[0] in BARRED - {"sys"}]:
    del sys.modules[name]
sys.meta_path.insert(0, Bar())
sys.path.append(SITE)
import imagevol_core
for module in pkgutil.walk_packages(imagevol_core.__path__, "imagevol_core."):
    importlib.import_module(module.name)

public = {name: getattr(imagevol_core, name) for name in imagevol_core.__all__}
sys.addaudithook(refuse_outside)
print([repr(eval(decision, public.copy())) for decision in DECISIONS])
"""


def in_fresh_interpreter(*decisions: str) -> subprocess.CompletedProcess[str]:
    """Make the decisions where nothing outside can be reached, and print them."""
    given = f"SITE = {str(CORE.parent)!r}\nBARRED = {BARRED!r}\nDECISIONS = {decisions!r}\n"
    command = [sys.executable, "-I", "-S", "-B", "-c", given + FRESH_INTERPRETER]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_decision_is_the_same_where_nothing_outside_can_be_reached() -> None:
    done = in_fresh_interpreter(*DECISIONS.values())
    assert done.stderr == ""
    assert ast.literal_eval(done.stdout) == [repr(eval(decision, PUBLIC.copy())) for decision in DECISIONS.values()]


@pytest.mark.parametrize(
    "outside",
    [
        "__import__('attrs')",
        "__import__('socket')",
        "__import__('subprocess')",
        "__import__('time')",
        "__import__('random')",
        "__import__('logging')",
        "__import__('importlib').import_module('os')",
        "__import__('inspect').os.environ['HOME']",
        "__import__('inspect').os.listdir('/')",
        "open('/dev/null')",
    ],
)
def test_a_function_that_reaches_outside_is_refused_in_the_test(outside: str) -> None:
    done = in_fresh_interpreter(outside)
    assert done.returncode == 1
    assert ("barred" in done.stderr) or ("outside" in done.stderr) or ("environment" in done.stderr)


def test_every_function_of_the_core_is_among_the_decisions() -> None:
    functions = {name for name, value in PUBLIC.items() if inspect.isfunction(value)}
    assert functions <= DECISIONS.keys()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_of_the_core_names_nothing_that_reaches_outside(module: Path) -> None:
    tree = ast.parse(module.read_text())
    named = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                named |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=origin, level=level):
                named.add("imagevol_core" if level else str(origin).partition(".")[0])
            case ast.Name(id=name) if name in BARRED_BUILTINS:
                named.add(name)
    assert named <= {*sys.stdlib_module_names, "imagevol_core"} - BARRED


@pytest.mark.skipif("IMAGEVOL_TESTS_THE_WHEEL" not in os.environ, reason="not run by nox: any installation will do")
def test_the_tests_import_what_the_wheel_installed() -> None:
    assert CORE.parent == Path(sysconfig.get_path("purelib"))
