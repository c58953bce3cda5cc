"""What a straightforward script does: fetch, make lines, send them to carbon.

peer.py map FILE                      prints the samples, and the seconds from text to lines
peer.py collect FOLDER HOST PORT      as configured in FOLDER; prints the samples
"""

import sys


def lines_of(text):
    import json
    from datetime import datetime, timezone

    detail = json.loads(text).get("detail")
    if not detail:
        return []
    names = [metric["name"].replace(" ", "") for metric in detail["fields"]["synthetic_metrics"]]
    lines = []
    for item in detail["items"]:
        test, node = item["breakdown_1"]["id"], item["breakdown_2"]["id"]
        at = datetime.strptime(item["dimension"]["name"][:19], "%Y-%m-%dT%H:%M:%S")
        at = int(at.replace(tzinfo=timezone.utc).timestamp())
        for name, value in zip(names, item["synthetic_metrics"]):
            if value is not None:
                lines.append(f"system.cp.testdata.{name};testId={test};nodeId={node} {value} {at}\n")
    return lines


def collect(folder, host, port):
    import socket

    import requests
    import yaml

    with open(f"{folder}/config_catchpoint.yaml") as file:
        config = yaml.safe_load(file)
    base = f"{config['protocol']}://{config['domain']}"
    form = {"grant_type": "client_credentials", "client_id": config["client_id"], "client_secret": config["client_secret"]}
    token = requests.post(f"{base}/{config['token_endpoint']}", data=form).json()["access_token"]
    samples = 0
    for ids in config["test_ids"].values():
        for at in range(0, len(ids), config["batch_size"]):
            batch = ",".join(ids[at : at + config["batch_size"]])
            url = f"{base}/{config['version']}/{config['rawdata_endpoint']}={batch}"
            lines = lines_of(requests.get(url, headers={"Authorization": f"Bearer {token}"}).text)
            samples += len(lines)
            if lines:
                with socket.create_connection((host, int(port))) as carbon:
                    carbon.sendall("".join(lines).encode())
    return samples


if sys.argv[1] == "map":
    import time

    with open(sys.argv[2]) as file:
        text = file.read()
    begin = time.perf_counter()
    lines = lines_of(text)
    "".join(lines).encode()
    print(len(lines), time.perf_counter() - begin)
else:
    print(collect(*sys.argv[2:]))
