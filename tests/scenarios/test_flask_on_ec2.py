"""The Flask app on an instance, under systemd, by the real command line."""

from __future__ import annotations

import json

from tests.scenarios.place import Place

PLAYBOOK, LAB = "playbooks/flask_on_ec2.yml", "flask_on_ec2@sandbox"


def test_it_serves_is_changed_and_goes(place: Place) -> None:
    place.run("plan", PLAYBOOK)
    place.run("apply", "--yes")
    assert place.plan(PLAYBOOK) == {}
    assert all(one["passed"] for one in place.json("check"))
    site = place.json("output")["site"]
    answer = place.curl(f"{site}predict", "-H", "Content-Type: application/json", "-d", "{}")
    assert "gre_score is missing" in json.loads(answer.stdout)["error"]

    # The host's own view: the unit runs, and its journal has what the app has printed.
    assert place.run("ssh", "web", "systemctl is-active admission").out.strip() == "active"
    assert "POST /predict" in place.run("ssh", "web", "sudo journalctl -u admission -o cat").out
    assert "Chance of admission" in place.run("ssh", "web", "curl -s http://localhost:5000/").out

    # Another version of the app: its file is copied, its service is restarted.
    place.edit("templates/flask_app/app.py", "Chance of admission</h1>", "Your chance</h1>")
    changes = {address: change["action"] for address, change in place.plan(PLAYBOOK).items()}
    assert changes == {"app[0]": "update", "service": "update"}
    place.run("apply", "--yes")
    assert all(one["passed"] for one in place.json("check"))
    assert "Your chance" in place.curl(site).stdout

    place.run("destroy", "--yes")
    assert place.tagged(LAB).keys() <= {"web"}, "terminated, it stays in the lists for an hour"
    states = {
        instance["State"]["Name"]
        for reservation in place.aws().describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert states == {"terminated"}
