"""The TLS listener under sslscan and testssl.sh, and what a handshake costs. Nothing here asks the network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from harness.certs import Authority
from harness.configs import config, demo_agent
from harness.gateway import Gateway
from report import Report, listed
from watch import check_quiet, stop

TESTSSL_TIMEOUT_S = 240
HANDSHAKES = 12
HANDSHAKE_CPU_MS = 20  # D(HE)at, CVE-2002-20001: ffdhe8192 takes ten times that, and its client nothing
SAFE_TLS12 = re.compile(r"ECDHE-\w+-(AES(128|256)-(GCM-SHA\d+|CCM8?)|CHACHA20-POLY1305)")
OLD = ("SSLv2", "SSLv3", "TLS1", "TLS1_1")
VULNERABILITIES = (
    "heartbleed CCS ticketbleed ROBOT BREACH POODLE_SSL fallback_SCSV SWEET32 FREAK DROWN LOGJAM LOGJAM-common_primes "
    "BEAST LUCKY13 winshock RC4"
).split()
# MEDIUM and above that say nothing of the gateway: the certificate lives a day and has no revocation list.
NOT_OURS = ("cert_expirationStatus", "cert_notAfter", "cert_revocation", "engine_problem", "scanTime")
GRADES = ("A+", "A", "A-", "B", "C", "D", "E", "F", "T", "M")


def run(report: Report, folder: Path) -> None:
    report.title("TLS listener: sslscan, testssl.sh")
    authority = Authority(folder / "ca")
    gateway = Gateway(
        folder / "gateway",
        config(demo_agent()),
        env={"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)},
        args=("--threads", "2"),
    ).start()
    fds = gateway.open_fds()
    try:
        scanned = sslscan(report, folder, gateway)
        handshakes(report, scanned, gateway, authority)
        rate(report, testssl(report, folder, gateway, authority), scanned)
        check_quiet(report, gateway, fds, authority.client_context())
    finally:
        stop(report, gateway)


# ---- sslscan


def sslscan(report: Report, folder: Path, gateway: Gateway) -> ElementTree.Element:
    file = folder / "sslscan.xml"
    file.unlink(missing_ok=True)
    host, port = gateway.address
    subprocess.run(
        ["sslscan", "--no-colour", f"--xml={file}", "--sni-name=localhost", f"{host}:{port}"],
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    found = ElementTree.parse(file).getroot().find("ssltest")
    if found is None:
        raise RuntimeError("sslscan tested nothing")
    enabled = [one for one in found.iter("protocol") if one.get("enabled") == "1"]
    on = sorted(f"{one.get('type')} {one.get('version')}" for one in enabled)
    report.check("sslscan: only TLS 1.2 and 1.3", on == ["tls 1.2", "tls 1.3"], ", ".join(on))
    ciphers = list(found.iter("cipher"))
    sound = [one for one in ciphers if one.get("strength") in ("strong", "acceptable") and int(one.get("bits")) >= 128]
    weak = [name(one) for one in ciphers if one not in sound]
    report.check("sslscan: no weak cipher", bool(ciphers) and not weak, listed(weak) or f"{len(ciphers)} ciphers")
    older = [name(one) for one in ciphers if one.get("sslversion") != "TLSv1.3"]
    unsafe = [one for one in older if not SAFE_TLS12.fullmatch(one)]
    static = [one for one in unsafe if not one.startswith(("ECDHE-", "DHE-"))]
    report.check("sslscan: forward secrecy everywhere", bool(ciphers) and not static, listed(static))
    report.check("sslscan: authenticated encryption everywhere, no CBC", bool(ciphers) and not unsafe, listed(unsafe))
    renegotiation, compression = found.find("renegotiation"), found.find("compression")
    report.check("sslscan: no renegotiation", renegotiation is not None and renegotiation.get("supported") == "0")
    if compression is not None:  # Debian's sslscan cannot tell; testssl.sh can
        report.check("sslscan: no compression", compression.get("supported") == "0")
    bleeding = [one.get("sslversion") for one in found.iter("heartbleed") if one.get("vulnerable") != "0"]
    report.check("sslscan: no Heartbleed", found.find("heartbleed") is not None and not bleeding, listed(bleeding))
    return found


def name(cipher: ElementTree.Element) -> str:
    return cipher.get("cipher", "")


# ---- what a handshake costs


def handshakes(report: Report, scanned: ElementTree.Element, gateway: Gateway, authority: Authority) -> None:
    """Anybody chooses the group, and need not compute anything; the gateway must, on the loop that serves others."""
    groups = list(dict.fromkeys(one.get("name", "").split()[0] for one in scanned.iter("group")))
    costs = {group: handshake_ms(gateway, authority, group) for group in groups}
    dear = [group for group, cost in costs.items() if cost > HANDSHAKE_CPU_MS]
    told = ", ".join(f"{group} {cost:.0f} ms" for group, cost in costs.items())
    report.check(f"no group costs more than {HANDSHAKE_CPU_MS} ms CPU a handshake", bool(costs) and not dear, told)


def handshake_ms(gateway: Gateway, authority: Authority, group: str) -> float:
    host, port = gateway.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost", "-tls1_3"]
    command += ["-groups", group, "-CAfile", str(authority.ca_file), "-verify_return_error"]
    cpu = gateway.cpu_s()
    for _ in range(HANDSHAKES):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
    return (gateway.cpu_s() - cpu) / HANDSHAKES * 1000


# ---- testssl.sh


def testssl(report: Report, folder: Path, gateway: Gateway, authority: Authority) -> dict[str, dict]:
    """Its findings by id. It is asked for what it needs to rate: protocols, ciphers, forward secrecy, the server's
    preferences and defaults, headers, vulnerabilities."""
    file, (host, port) = folder / "testssl.json", gateway.address
    file.unlink(missing_ok=True)
    command = [os.environ.get("TESTSSL", "testssl"), "-p", "-s", "-P", "-f", "-S", "-h", "-U"]
    command += ["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", host]
    command += ["--add-ca", str(authority.ca_file), "--jsonfile", str(file), f"https://localhost:{port}/docs"]
    with open(folder / "testssl.log", "w") as log:
        files = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        subprocess.run(command, cwd=folder, timeout=TESTSSL_TIMEOUT_S, check=False, **files)
    findings = {one["id"]: one for one in json.loads(file.read_text())}
    judge(report, findings)
    return findings


def judge(report: Report, findings: dict[str, dict]) -> None:
    def said(key: str) -> str:
        return findings.get(key, {}).get("finding", "absent")

    def fine(*keys: str) -> bool:
        return all(findings.get(key, {}).get("severity") == "OK" for key in keys)

    ended = "scanTime" in findings and not any(one["severity"] == "FATAL" for one in findings.values())
    report.check("testssl.sh ran to its end", ended, f"{len(findings)} findings in {said('scanTime')} s")
    old = [one for one in OLD if said(one) != "not offered"]
    new = said("TLS1_2").startswith("offered") and said("TLS1_3").startswith("offered")
    report.check("testssl.sh: only TLS 1.2 and 1.3", new and not old, listed(old))
    lists = [key for key in findings if key.startswith("cipherlist_")]
    categories = [key for key in lists if key not in ("cipherlist_STRONG", "cipherlist_STRONG_FS")]
    offered = [key for key in categories if said(key) != "not offered"]
    report.check("testssl.sh: no weak or obsolete cipher", bool(categories) and not offered, listed(offered))
    secrecy = fine("FS") or fine("PFS")
    report.check("testssl.sh: forward secrecy", secrecy and said("cipherlist_STRONG_NOFS") in ("not offered", "absent"))
    report.check("testssl.sh: no renegotiation by clients", fine("secure_renego", "secure_client_renego"))
    report.check("testssl.sh: no compression", fine("CRIME_TLS"), said("CRIME_TLS"))
    tried = [key for key in VULNERABILITIES if key in findings]
    open_to = [f"{key} ({said(key)})" for key in tried if not fine(key)]
    none = len(tried) >= 15 and not open_to
    report.check(f"testssl.sh: none of {len(tried)} vulnerabilities", none, listed(open_to))
    trusted = fine("cert_trust", "cert_chain_of_trust")
    report.check("testssl.sh: the certificate is trusted", trusted, said("cert_trust"))
    aead_only = not offered  # then any order will do, and Mozilla's profile leaves it to the client
    passed_over = {*NOT_OURS, *VULNERABILITIES, *(["cipher_order"] if aead_only else [])}
    severe = [
        f"{key} {one['severity']} ({one['finding'][:60]})"
        for key, one in findings.items()
        if one["severity"] in ("MEDIUM", "HIGH", "CRITICAL") and key not in passed_over
    ]
    report.check("testssl.sh: nothing else of MEDIUM or above", ended and not severe, listed(severe))


def rate(report: Report, findings: dict[str, dict], scanned: ElementTree.Element) -> None:
    if "overall_grade" in findings:
        grade, score = (findings[key]["finding"] for key in ("overall_grade", "final_score"))
        by = f"by testssl.sh, score {score}"
    else:
        grade, by = own_rating(findings, scanned)
    report.check("rated A or better", grade in ("A+", "A"), f"{grade} ({by})")
    report.note(f"strict transport security: {findings.get('HSTS', {}).get('finding', 'absent')}")


def own_rating(findings: dict[str, dict], scanned: ElementTree.Element) -> tuple[str, str]:
    """SSL Labs' rating guide by hand, for a testssl.sh before 3.2, which does not rate."""
    scores = {"2": 0, "3": 80, "1.0": 90, "1.1": 95, "1.2": 100, "1.3": 100}
    on = [scores[one.get("version")] for one in scanned.iter("protocol") if one.get("enabled") == "1"]
    bits = [int(one.get("bits")) for one in scanned.iter("cipher")]
    size = re.search(r"(EC|RSA)\D*(\d+)", findings["cert_keySize"]["finding"])
    least = {"EC": (384, 256), "RSA": (4096, 2048)}[size[1]]
    key = 100 if int(size[2]) >= least[0] else 90 if int(size[2]) >= least[1] else 40
    strength = [100 if one >= 256 else 80 if one >= 128 else 20 for one in bits]
    middle = [(max(values) + min(values)) / 2 for values in (on, strength)]
    score = 0.3 * middle[0] + 0.3 * key + 0.4 * middle[1]
    grade = "A" if score >= 80 else "B" if score >= 65 else "C" if score >= 50 else "F"
    severity = {key: one["severity"] for key, one in findings.items()}
    secret = "OK" in (severity.get("FS"), severity.get("PFS"))
    caps = ["B"] if min(on) < 100 or not secret else []
    caps += ["F" for one in VULNERABILITIES if severity.get(one) in ("HIGH", "CRITICAL")]
    caps += ["T" for one in ("cert_trust", "cert_chain_of_trust") if severity.get(one) != "OK"]
    grade = max([grade, *caps], key=GRADES.index)
    return grade, f"by SSL Labs' guide, score {score:.0f}; this testssl.sh does not rate"
