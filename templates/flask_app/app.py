"""Chance of admission as a small web service; the same code for every way to deploy it.

    python app.py            on port 5000, or on $PORT
    python app.py serve      on port 8080, as SageMaker starts a container

GET / is a page with a form, POST /predict answers JSON with JSON; /ping and /invocations are what SageMaker
asks for. It runs on Flask's own server, which is fine for a lab; for more, put gunicorn in front of `app`.
"""

from __future__ import annotations

import json
import os
import sys
from html import escape

import model
from flask import Flask, Response, jsonify, request

app = Flask(__name__)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Chance of admission</title>
<style>body {{ font: 1rem/1.5 system-ui; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }}
label {{ display: block; margin: .6rem 0 }} input {{ display: block; width: 100%; font: inherit }}</style>
<h1>Chance of admission</h1>
<form method="post" action="predict">{fields}<p><button>Predict</button></p></form>
<p>Or send JSON: <code>POST /predict</code> with <code>{example}</code></p>
</html>
"""
FIELD = '<label>{what}<input name="{name}" value="{example}" required></label>'


@app.get("/")
def page() -> str:
    """A form to try it with."""
    fields = [
        FIELD.format(**{key: escape(str(feature[key])) for key in ("what", "name", "example")})
        for feature in model.MODEL["features"]
    ]
    return PAGE.format(fields="".join(fields), example=escape(json.dumps(model.example())))


@app.post("/predict")
@app.post("/invocations")
def predict() -> tuple[Response, int]:
    """The prediction for one applicant, as JSON or from the form; 400 with words for a bad one."""
    given = request.form.to_dict() if request.form else request.get_json(force=True, silent=True)
    try:
        return jsonify(model.predict(given)), 200
    except model.BadInput as error:
        return jsonify({"error": str(error)}), 400


@app.get("/ping")
def ping() -> tuple[str, int]:
    """Well, as long as it answers."""
    return "", 200


if __name__ == "__main__":
    port = 8080 if sys.argv[1:] == ["serve"] else int(os.environ.get("PORT", "5000"))
    app.run(host="0.0.0.0", port=port)
