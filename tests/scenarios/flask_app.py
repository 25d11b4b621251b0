"""What is sent to the Flask app of templates/flask_app, wherever it runs."""

from __future__ import annotations

import json
from typing import Final

APPLICANT: Final = {
    "gre_score": 300,
    "toefl_score": 100,
    "university_rating": 4,
    "sop": 3,
    "lor": 4,
    "cgpa": 8.90,
    "research": "Yes",
}
POSTED: Final = ("-H", "Content-Type: application/json", "-d", json.dumps(APPLICANT))
"""curl's words that send the applicant."""
