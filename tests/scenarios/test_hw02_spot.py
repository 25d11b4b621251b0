"""HW02's bastion on the spot market by the real command line: its price, and an empty market."""

from __future__ import annotations

from typing import Any

from tests.scenarios.place import Place

PLAYBOOK = "playbooks/hw02_spot.yml"
LAB = "hw02_spot@sandbox"
EMPTY = """\
target: sandbox
sandbox: {no_capacity: ["spot:t2.large"], boot_seconds: 0.2, ssh_seconds: 0.2}
"""


def bastions(place: Place) -> list[dict[str, Any]]:
    live = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}
    lab = {"Name": "tag:labctl:lab", "Values": [LAB]}
    found = place.aws().describe_instances(Filters=[lab, live])["Reservations"]
    return [one for reservation in found for one in reservation["Instances"]]


def test_no_capacity_then_on_demand_then_spot(place: Place) -> None:
    (place.folder / "inventory" / "sandbox.yml").write_text(EMPTY)
    failed = place.run("apply", PLAYBOOK, "--yes", code=1)
    assert "There is no Spot capacity available that matches your request." in failed.out
    assert "market: on-demand costs more and is more likely to be had" in failed.out
    assert bastions(place) == []

    # What the message says: the same machine on demand.
    place.run("apply", PLAYBOOK, "--yes", "-e", "market=on-demand")
    [bastion] = bastions(place)
    assert "InstanceLifecycle" not in bastion

    # The market has room again: the bastion is made anew there, at a price that was asked first.
    (place.folder / "inventory" / "sandbox.yml").write_text(EMPTY.replace("spot:t2.large", "spot:p3.*"))
    planned = place.plan(PLAYBOOK)["bastion"]
    assert planned["action"] == "replace"
    place.run("apply", PLAYBOOK, "--yes")
    [bastion] = bastions(place)
    assert bastion["InstanceLifecycle"] == "spot"
    zone = bastion["Placement"]["AvailabilityZone"]
    told = place.json("output", PLAYBOOK)
    assert told["zone"] == zone
    assert told["spot_price"].endswith(f" USD per hour in {zone} now")
    cheapest = float(told["cheapest_now"].split()[0])
    assert 0.2 * 0.0928 < cheapest < 0.5 * 0.0928
    [request] = place.aws().describe_spot_instance_requests(
        SpotInstanceRequestIds=[bastion["SpotInstanceRequestId"]]
    )["SpotInstanceRequests"]
    assert cheapest < float(request["SpotPrice"]) <= cheapest * 1.51

    assert "No changes." in place.run("plan", PLAYBOOK, "--detailed-exitcode").out
    place.run("check", PLAYBOOK)
    assert "on the spot market" in place.curl(told["site"]).stdout
    place.run("destroy", PLAYBOOK, "--yes")
    assert bastions(place) == []


def test_a_price_below_the_market_is_refused_in_words(place: Place) -> None:
    said = place.run("apply", PLAYBOOK, "--yes", "-e", "headroom=-50", code=1).out
    assert "the spot price is above max_price now" in said
    assert "raise max_price, leave it out" in said
    place.run("destroy", PLAYBOOK, "--yes")
    assert bastions(place) == []
