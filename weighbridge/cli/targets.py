"""`weigh deploy container | kubernetes | homomorphic`: where a package can go, and how it can answer there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli.again import Only, RunFolder, run_folder
from weighbridge.cli.show import say, show_findings, watched

PackagePath = Annotated[Path, typer.Argument(metavar="PACKAGE", help="A package: RUN/deployment/package, or a .zip of it.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where it is written; replaced when it was before.")]

TrustFiles = Annotated[
    list[Path] | None, typer.Option("--trust", metavar="FILE", help="A public key; only packages signed by one of those given are served.")
]


def container(
    package: PackagePath,
    output: Output,
    base: Annotated[str | None, typer.Option(metavar="IMAGE", help="An image with Python; default: the version that runs here.")] = None,
    wheel: Annotated[Path | None, typer.Option(metavar="FILE", help="A wheel of Weighbridge; default: made of the one that runs.")] = None,
    trust: TrustFiles = None,
) -> None:
    """Write a folder from which an image with the package is built: Dockerfile, exact libraries, compose.yaml."""
    from weighbridge.deployment.container import write_container

    write_container(package, output, base=base, wheel=wheel, trust=trust or None)
    say(f"wrote {output}; next: docker build {output}, see {output / 'README.md'}")


def kubernetes(
    package: PackagePath,
    output: Output,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="The image as the cluster pulls it.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the Deployment and the model; default: the package's.")] = None,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="The namespace.")] = "default",
    workers: Annotated[int, typer.Option(metavar="N", help="Processes of a pod, one core each.")] = 1,
    pods: Annotated[str, typer.Option(metavar="LEAST:MOST", help="Between how many pods the autoscaler chooses.")] = "2:8",
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="Whether pods end TLS themselves; without: a mesh or gateway must.")] = True,
    trust: TrustFiles = None,
) -> None:
    """Write Kubernetes manifests for a package's image: Deployment, Service, autoscaler, policies, KServe."""
    from weighbridge.deployment.kubernetes import write_kubernetes
    from weighbridge.errors import UsageError

    least, _, most = pods.partition(":")
    if not (least.isdecimal() and most.isdecimal()):
        raise UsageError(f"--pods {pods!r} is not LEAST:MOST", do="give two whole numbers, such as 2:8")
    write_kubernetes(
        package, output, image=image, name=name, namespace=namespace, workers=workers, least=int(least), most=int(most), tls=tls,
        trust=trust or None,
    )  # fmt: skip
    say(f"wrote {output}; next: see {output / 'README.md'}, then kubectl apply -k {output}")


def homomorphic(
    run: RunFolder,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Test rows that are encrypted and answered.")] = 200,
    only: Only = None,
) -> None:
    """Put a run's network through encrypted rows: what it costs in accuracy, time and bytes; folders for client and server."""
    from weighbridge.deployment.homomorphic import measure

    folder = run_folder(run)
    with watched() as (progress, _):
        findings = measure(folder, rows=rows, command=f"weigh deploy homomorphic {folder.as_posix()} --rows {rows}", progress=progress)
    show_findings(findings, only, folder)
