"""Deployment files of the server: they parse, and name flags, ports, paths and metrics that there are."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_help import parse

from segbench.predict import Times
from segbench.serve.measure import Measures, Took
from segbench.serve.refusal import HTTP
from segbench.serve.settings import Settings

SERVE = Path(__file__).parent.parent / "serve"
UNIT = SERVE / "workstation" / "segbench-serve.service"
DOCKERFILE, COMPOSE = SERVE / "container" / "Dockerfile", SERVE / "container" / "compose.yaml"
KUBERNETES, AUTOSCALE = SERVE / "kubernetes" / "serve.yaml", SERVE / "kubernetes" / "autoscale.yaml"
PROMETHEUS, ALERTS = SERVE / "monitoring" / "prometheus.yml", SERVE / "monitoring" / "alerts.yml"
DASHBOARD = SERVE / "monitoring" / "grafana.json"
HEALTH = {"/v2/health/ready", "/v2/health/live"}
DEFAULT = Settings()


def documents(path):
    yaml = pytest.importorskip("yaml")
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


def manifest(kind):
    return next(found for found in documents(KUBERNETES) if found["kind"] == kind)


def told() -> bytes:
    """What `/metrics` says after one model was loaded and one request answered."""
    measures = Measures(lambda: 0.0, lambda: 0.0, lambda: True)
    card = SimpleNamespace(name="m", version="1")
    engine = SimpleNamespace(name="fake", version="1", precision="f32", device="cpu", threads=1)
    measures.loaded(card, engine)
    measures.answered(card, Took(0.1, Times(), 0.2), 1, 8, 1)
    return measures.text()


def exported() -> dict[str, set[str]]:
    """Series that a server exports, with their labels."""
    text = told().decode()
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)", text, re.M):
        for series in [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]:
            found[series] = set()
    for series, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.M):
        found.setdefault(series, set()).update(re.findall(r"(\w+)=", labels))
    return found


def asked(expression: str) -> list[tuple[str, set[str], str]]:
    """Series that an expression names, with the labels that it picks by and what it picks."""
    found = re.findall(r"\b(segbench_\w+)(?:\{(.*?)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*[=!]", labels)), labels) for name, labels in found]


def expressions():
    """All of dashboard, rules and autoscaling."""
    board = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [variable["query"].split("(")[1].split(",")[0] for variable in board["templating"]["list"][1:]]
    (rules,) = documents(ALERTS)
    found += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    scaler, adapter = documents(AUTOSCALE)
    found += [metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]]
    return [*found, *re.findall(r"seriesQuery: '(.*)'", adapter["data"]["adapter.yaml"])]


def test_what_dashboard_rules_and_autoscaling_ask_for_is_exported():
    there = exported()
    outside = {"instance", "job", "namespace", "pod", "le"}  # of Prometheus and Kubernetes
    named = set()
    for expression in expressions():
        for name, labels, picked in asked(expression):
            assert name in there, f"{name} in {expression}"
            assert labels - outside <= there[name] | {"outcome", "result", "model"}, expression
            if outcome := re.search(r'outcome="(\w+)"', picked):
                assert outcome[1] in {"ok", *HTTP}, expression
            named.add(re.sub(r"_(bucket|sum|count)$", "", name))
    assert {name for name in named if name.startswith("segbench_")} == {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in there if not name.endswith("_created")
    }, "everything that is exported is looked at somewhere"


def test_a_name_that_is_not_exported_would_be_found():
    assert asked('rate(segbench_gone_total{model="m",x!="y"}[5m])') == [
        ("segbench_gone_total", {"model", "x"}, 'model="m",x!="y"')
    ]
    assert "segbench_gone_total" not in exported()


def test_the_dashboard_is_laid_out_on_a_grid_of_24():
    board = json.loads(DASHBOARD.read_text())
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def check_arguments(arguments):
    """They are a call of `segbench serve`; returns its parameters."""
    words = [str(argument) for argument in arguments]
    context = parse(shlex.join(["segbench", "serve", *words]))
    return context.params


def test_the_pod_is_a_call_of_serve_on_the_ports_that_it_opens():
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = check_arguments(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": given["http_port"], "grpc": given["grpc_port"]}
    assert str(given["threads"]) == container["resources"]["limits"]["cpu"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[str(given["token_file"].parent)] == "tokens"
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts.values())
    assert "SEGBENCH_CACHE=/tmp" in DOCKERFILE.read_text(), "what is written goes where the pod may write"
    service = {port["name"]: port["port"] for port in manifest("Service")["spec"]["ports"]}
    assert service == ports
    policy = manifest("NetworkPolicy")["spec"]
    opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert opened == set(ports.values())


def test_probes_ask_for_paths_that_need_no_token():
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert set(paths.values()) == HEALTH
    assert paths["livenessProbe"].endswith("live")
    assert {container[name]["httpGet"]["port"] for name in paths} == {"http"}


def test_what_was_accepted_is_answered_before_the_end():
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > DEFAULT.drain_s + before
    (compose,) = documents(COMPOSE)
    assert float(compose["services"]["serve"]["stop_grace_period"].rstrip("s")) > DEFAULT.drain_s
    assert float(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.M)[1]) > DEFAULT.drain_s


def test_pods_are_chosen_by_labels_that_they_bear():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    chosen = [manifest("Service")["spec"]["selector"], manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    for found in (*chosen, manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]):
        assert found.items() <= labels.items()
    scaler, _ = documents(AUTOSCALE)
    assert scaler["spec"]["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
    assert manifest("PodDisruptionBudget")["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]


@pytest.mark.parametrize("place", ["pod", "compose"])
def test_containers_are_nobody_and_write_nowhere(place):
    if place == "pod":
        pod = manifest("Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        secured = container["securityContext"]
        assert secured["readOnlyRootFilesystem"]
        assert secured["capabilities"] == {"drop": ["ALL"]}
        user = str(pod["securityContext"]["runAsUser"])
    else:
        (compose,) = documents(COMPOSE)
        service = compose["services"]["serve"]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        user = "10001"
    assert f"\nUSER {user}:{user}\n" in DOCKERFILE.read_text()


def test_the_image_starts_the_server_as_compose_does():
    text = DOCKERFILE.read_text()
    entry, command = (json.loads(re.search(rf"^{word} (\[.*\])$", text, re.M)[1]) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["segbench", "serve"]
    given = check_arguments(command)
    (compose,) = documents(COMPOSE)
    assert compose["services"]["serve"]["command"] == command
    assert given["token_file"] == Path("/run/secrets/segbench_tokens")
    ports = {DEFAULT.http_port, DEFAULT.grpc_port}
    assert {int(port) for port in re.search(r"^EXPOSE (.*)$", text, re.M)[1].split()} == ports
    assert {int(port.rsplit(":")[-1]) for port in compose["services"]["serve"]["ports"]} == ports
    probe = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+?)'", text)
    assert int(probe[1]) == DEFAULT.http_port
    assert probe[2] in HEALTH
    root = SERVE.parent
    for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M):
        for source in line.split():
            assert (root / source).exists()
            assert f"\n!{source}\n" in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text()


def test_prometheus_asks_the_server_of_compose():
    (config,), (compose,) = documents(PROMETHEUS), documents(COMPOSE)
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"][0]["targets"] == [f"serve:{DEFAULT.http_port}"]
    mounted = {volume.split(":")[0] for volume in compose["services"]["prometheus"]["volumes"]}
    assert {(COMPOSE.parent / path).resolve() for path in mounted} == {PROMETHEUS, ALERTS}
    assert config["rule_files"] == [ALERTS.name]
    assert f'job="{job["job_name"]}"' in ALERTS.read_text()
    for group in documents(ALERTS)[0]["groups"]:
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["annotations"]["summary"]


def unit():
    parser = configparser.RawConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def test_the_unit_starts_a_server_that_writes_to_its_cache_alone():
    service = unit()["Service"]
    program, command, *rest = service["ExecStart"].split()
    assert (program, command, rest) == ("/opt/segbench/venv/bin/segbench", "serve", ["$SEGBENCH_SERVE"])
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert "MemoryDenyWriteExecute" not in service
    for line in re.findall(r"SEGBENCH_SERVE=(--.*)$", UNIT.read_text(), re.M):
        check_arguments(shlex.split(line))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="SKIPPED LOUDLY: no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/segbench/venv/bin/segbench", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not said
