from __future__ import annotations

import ssl
import stat
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from provider.clock import SystemClock
from provider.cluster.pki import Pki, write_kubeconfig

if TYPE_CHECKING:
    from pathlib import Path


def test_a_serving_certificate_is_signed_by_its_ca_and_has_its_names(tmp_path: Path) -> None:
    pki = Pki(tmp_path, SystemClock())
    ca = pki.authority("ca")
    pair = pki.server(ca, "apiserver", ["kubernetes"], ["10.96.0.1"])
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.certificate.read_bytes()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.96.0.1"]
    assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600


def test_a_client_certificate_names_user_and_groups_and_is_kept(tmp_path: Path) -> None:
    pki = Pki(tmp_path, SystemClock())
    pair = pki.client(pki.authority("ca"), "node", "system:node:a", ["system:nodes"])
    content = pair.certificate.read_bytes()
    subject = x509.load_pem_x509_certificate(content).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:a"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    assert pki.client(pki.authority("ca"), "node", "system:node:a").certificate.read_bytes() == content


def test_a_kubeconfig_stands_alone(tmp_path: Path) -> None:
    pki = Pki(tmp_path, SystemClock())
    ca = pki.authority("ca")
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:1", ca, pki.client(ca, "admin", "admin"), "here")
    document = yaml.safe_load(path.read_text())
    assert document["current-context"] == "here"
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    context = ssl.create_default_context(cafile=str(ca.certificate))
    assert len(context.get_ca_certs()) == 1


def test_a_serving_certificate_is_made_anew_only_for_other_names(tmp_path: Path) -> None:
    pki = Pki(tmp_path, SystemClock())
    ca = pki.authority("ca")

    def serving(address: str) -> bytes:
        return pki.server(ca, "apiserver", ["kubernetes"], [address]).certificate.read_bytes()

    first = serving("10.96.0.1")
    assert serving("10.96.0.1") == first
    assert serving("10.96.0.2") != first
