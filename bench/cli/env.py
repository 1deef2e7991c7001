"""`bench env`: this machine, its versions, its fingerprints, and how quiet it is."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from bench.cli.layout import paragraph, section
from bench.cli.options import DataFormat, DataFormatOption


def env(fmt: DataFormatOption = DataFormat.TEXT) -> None:
    """This machine, its versions, both fingerprints, and how quiet it is, each remark with advice."""
    from bench.machine import installed_backends, read_host, read_machine, read_software
    from bench.noise import read_quiet, remarks

    machine, host, quiet = read_machine(), read_host(), read_quiet()
    backends = installed_backends()
    software = {name: read_software(name) for name, problem in backends.items() if problem is None}
    noted = remarks(quiet, machine)
    if fmt is DataFormat.JSON:
        content = {
            "machine": {"fingerprint": machine.fingerprint, **asdict(machine)},
            "software": {name: {"fingerprint": one.fingerprint, **asdict(one)} for name, one in software.items()},
            "host": asdict(host),
            "quiet": asdict(quiet),
            "remarks": [asdict(remark) for remark in noted],
        }
        typer.echo(json.dumps(content, indent=1))
        return
    section(f"machine {machine.fingerprint}", asdict(machine))
    for name, one in software.items():
        typer.echo()
        section(f"software for {name} {one.fingerprint}", asdict(one))
    for problem in filter(None, backends.values()):
        paragraph(problem, indent="  ", dim=True)
    typer.echo()
    section("host (recorded, never fingerprinted)", asdict(host))
    heavy = [f"{one.name} (pid {one.pid}) {one.cores:.2f} cores" for one in quiet.heavy]
    typer.echo()
    section("how quiet it is", {**asdict(quiet), "heavy": heavy})
    if not noted:
        paragraph("nothing disturbs a measurement here", indent="  ", fg="green")
    for remark in noted:
        paragraph(f"{remark.text}: {remark.advice}", indent="  ", fg="yellow")
