import os
import sys

import httpx

THREAD = """
query Thread($id: ID!) {
  thread(id: $id) {
    id
    status
    lastMessage { subject }
  }
}
"""

headers = {"authorization": os.environ["GOCHAT_AUTHORIZATION"]}
with httpx.Client(headers=headers, timeout=30) as http:  # the gateway may need longer than httpx's 5 seconds
    response = http.post(os.environ["GOCHAT_URL"], json={"query": THREAD, "variables": {"id": sys.argv[1]}})
    answer = response.json()  # also where the status is not 200: it has `errors` then
    for error in answer.get("errors", ()):
        print(error["extensions"]["code"], error["message"], error.get("path"))
    if answer.get("data"):
        print(answer["data"]["thread"])
