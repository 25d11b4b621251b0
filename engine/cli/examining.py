"""doctor and inventory: the way to a lab's hosts, looked at and told to others."""

from __future__ import annotations

from dataclasses import replace

import click

from engine.cli.conclusion import again
from engine.cli.looking import check_host, site_of
from engine.cli.options import Asked, common_options, greet, lab_by_option, lab_options, resolve
from engine.cli.terminal import Terminal


@click.command()
@click.argument("host", required=False)
@lab_by_option
@click.option("--json", "as_json", is_flag=True, help="A JSON document instead of text.")
@common_options
def doctor(terminal: Terminal, host: str | None, *, asked: Asked, as_json: bool) -> int:
    """Walk the way to HOST stage by stage; the last line tells the cause of trouble and what mends it.

    Exits with 0 where all is well, else with 1. With --json {"host", "well", "cause", "remedy", "stages"}.
    """
    from engine.commands import examine_host
    from engine.render.doctor import diagnosis_text
    from engine.session import Session

    request = resolve(asked, terminal)
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        site, hosts = site_of(session, request)
        greet(terminal, [site.lab])
        check_host(host, hosts, site.lab.name, "doctor")

        def spoken(address: str) -> str:
            return again(site.lab, replace(request, only=(address,)))

        found = examine_host(site, request, str(host), spoken)
    if as_json:
        terminal.json(found.data())
    else:
        terminal.out(diagnosis_text(found, paint=terminal.paint))
    return 0 if found.well else 1


@click.command()
@lab_options
@click.option("--ansible", is_flag=True, help="As Ansible's dynamic inventories are; the only form there is.")
@click.option("--list", "everything", is_flag=True, help="Every host, with its variables (the default).")
@click.option("--host", metavar="NAME", help="The variables of one host.")
def inventory(terminal: Terminal, asked: Asked, *, ansible: bool, everything: bool, host: str | None) -> int:
    """Print the lab's hosts as a dynamic inventory of Ansible, with the bastion in between.

    Ansible calls a program for it, so give it a file that says: exec labctl inventory --ansible "$@"
    """
    from engine.commands import hosts_of, open_labs
    from engine.render.ansible import LabHosts, host_data, inventory_data
    from engine.session import Session

    if not ansible:
        raise click.UsageError("Say --ansible: that is the form it is printed in.")
    labs = []
    with Session(terminal.after_greeting, terminal.passphrase) as session:
        for site in open_labs(session, resolve(asked, terminal)):
            specs = [site.world.hosts.spec(name) for name in hosts_of(site)]
            groups = site.lab.names["lab"]["groups"] if "lab" in site.lab.names else {}
            config = site.world.hosts.write_ssh_config()
            entries = site.ledger.entries(site.lab.name)
            labs.append(LabHosts(specs, entries, config, groups, site.lab.student))
    if not any(lab.specs for lab in labs):
        terminal.say("No host of it is there yet: say labctl apply first.")
    terminal.json(inventory_data(labs) if host is None else host_data(labs, host))
    return 0
