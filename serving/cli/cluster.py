"""`codegemma cluster`: the service on Kubernetes, one command per module."""

import typer

from serving.cli.cluster_apply import apply, rollback
from serving.cli.cluster_doctor import doctor
from serving.cli.cluster_logs import logs
from serving.cli.cluster_resize import resize
from serving.cli.cluster_sizing import sizing
from serving.cli.cluster_status import status

cluster = typer.Typer(
    name="cluster",
    help="Install and watch the service on Kubernetes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
for command in (doctor, apply, status, logs, rollback, resize, sizing):
    cluster.command()(command)
