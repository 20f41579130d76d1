"""The option of the file of metrics, which a backend's section and a store's section have alike."""

from __future__ import annotations

from oslo_config import cfg

__all__ = ["METRICS_FILE"]

METRICS_FILE = cfg.StrOpt(
    "image_clone_metrics_file",
    default=None,
    help="Write what is counted to this file for the textfile collector of node_exporter. Each process writes a file "
    "of its own: imagevol.prom becomes imagevol-0.prom, imagevol-1.prom and so on. The user of the service must be "
    "able to write to the directory. Not set: no file.",
)
