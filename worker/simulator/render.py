"""The service's objects as JSON text, written by hand: a reply costs microseconds, not a model."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.seam import WARNING_CODES
from worker.simulator.ids import NOBODY, Draw, id_text, share_hits

if TYPE_CHECKING:
    from worker.simulator.ids import Seeded, Subject
    from worker.simulator.world import Holding, Person, World

__all__ = ["KINDS", "CredentialWriter"]


class Kind(NamedTuple):
    """A maker's sort of credential."""

    external_type: str
    access_method: str
    label: str


KINDS: Final = (
    Kind("pti_card", "code", "PTI Card"),
    Kind("brivo_credential", "card", "Brivo Credential"),
    Kind("hid_credential", "mobile_key", "HID Credential"),
    Kind("visionline_card", "card", "Visionline Card"),
    Kind("salto_ks_credential", "code", "Salto KS Credential"),
    Kind("assa_abloy_vostio_key", "mobile_key", "Vostio Key"),
    Kind("salto_space_key", "card", "Salto Space Key"),
    Kind("latch_access", "mobile_key", "Latch Access"),
    Kind("dormakaba_ambiance_credential", "card", "Ambiance Credential"),
    Kind("hotek_card", "card", "Hotek Card"),
    Kind("salto_ks_tag", "card", "Salto KS Tag"),
    Kind("avigilon_alta_credential", "cloud_key", "Alta Credential"),
    Kind("kisi_credential", "mobile_key", "Kisi Credential"),
    Kind("akiles_credential", "code", "Akiles Credential"),
)

_WARNINGS: Final = (*WARNING_CODES, "simulated_unknown_warning")

_CREATED_AT: Final = "2026-01-15T09:30:00.000Z"
_WARNED_AT: Final = "2026-03-01T04:05:06.123456Z"
_UNISSUED: Final = (
    f'{{"created_at":"{_WARNED_AT}","warning_code":"waiting_to_be_issued",'
    '"message":"The credential waits to be encoded onto a card."}'
)
_BROKEN: Final = (
    f'{{"created_at":"{_WARNED_AT}","error_code":"provider_refused_update",'
    '"message":"The provider refused the last update."}'
)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class CredentialWriter:
    """Writes credentials and users of one world."""

    def __init__(self, world: World, seeded: Seeded) -> None:
        self._world = world
        self._seeded = seeded

    def credential(self, subject: Subject, holding: Holding, now: float, *, id_shown: bytes | None = None) -> str:
        """One `acs_credential` object; `id_shown` lets it go by another id."""
        credential, draws, workspace = subject
        world, settings = self._world, self._world.settings
        kind = KINDS[draws[Draw.KIND] % len(KINDS)]
        credential_id = id_text(id_shown or credential)
        system = id_text(world.system_of(subject))
        head = (
            f'{{"acs_credential_id":"{credential_id}","acs_system_id":"{system}",'
            f'"connected_account_id":"{system}","workspace_id":"{workspace}",'
            f'"display_name":"{kind.label} {credential_id[:8]}","access_method":"{kind.access_method}",'
            f'"external_type":"{kind.external_type}","external_type_display_name":"{kind.label}",'
            f'"created_at":"{_CREATED_AT}","is_managed":true,"is_one_time_use":false'
        )
        parts = [head]
        if holding.user != NOBODY:
            parts.append(f',"acs_user_id":"{id_text(holding.user)}"')
        if holding.identity != NOBODY and settings.identity_on_credential:
            parts.append(f',"user_identity_id":"{id_text(holding.identity)}"')
        if share_hits(draws[Draw.CHILD], settings.children):
            parts.append(f',"parent_acs_credential_id":"{id_text(self._seeded.derived(b"parent", credential))}"')
        elif kind.access_method == "mobile_key":
            parts.append(',"is_multi_phone_sync_credential":false')
        parts.append(self._secret(kind, draws))
        age = now - holding.assigned_at
        warnings = self._warnings(draws)
        if kind.access_method == "card":
            if age < settings.becomes_issued_after:
                parts.append(',"is_issued":false,"issued_at":null')
                if "waiting_to_be_issued" not in warnings:
                    warnings = f"{warnings},{_UNISSUED}" if warnings else _UNISSUED
            else:
                since = holding.assigned_at
                issued = _time(since + settings.becomes_issued_after) if since else _CREATED_AT
                parts.append(f',"is_issued":true,"issued_at":"{issued}"')
        if age < settings.synced_after:
            parts.append(
                ',"is_latest_desired_state_synced_with_provider":false,'
                '"latest_desired_state_synced_with_provider_at":null'
            )
        elif holding.assigned_at:
            parts.append(
                ',"is_latest_desired_state_synced_with_provider":true,'
                '"latest_desired_state_synced_with_provider_at":'
                f'"{_time(holding.assigned_at + settings.synced_after)}"'
            )
        errors = _BROKEN if share_hits(draws[Draw.ERROR], settings.credential_errors) else ""
        parts.append(f',"errors":[{errors}],"warnings":[{warnings}]}}')
        text = "".join(parts)
        extras = world.extras_of(credential)
        return text if extras is None else json.dumps({**json.loads(text), **extras})

    def user(self, person: Person, workspace: str) -> str:
        """One `acs_user` object."""
        user, system = id_text(person.user), id_text(self._world.home_of(person, workspace))
        identity = "" if person.identity == NOBODY else f'"user_identity_id":"{id_text(person.identity)}",'
        return (
            f'{{"acs_user_id":"{user}","acs_system_id":"{system}","connected_account_id":"{system}",'
            f'"workspace_id":"{workspace}",{identity}"display_name":"Resident {user[:8]}",'
            f'"full_name":"Resident {user[:8]}","email_address":"resident.{user[:8]}@example.com",'
            f'"created_at":"{_CREATED_AT}","last_successful_sync_at":null,"is_managed":true,'
            '"is_suspended":false,"errors":[],"warnings":[]}'
        )

    def _secret(self, kind: Kind, draws: tuple[int, ...]) -> str:
        settings = self._world.settings
        if kind.access_method == "code":
            code = settings.canary_code or f"{draws[Draw.SECRET] % 1_000_000:06d}"
            return f',"code":{json.dumps(code)}'
        if kind.access_method == "card":
            number = settings.canary_card_number or f"{draws[Draw.SECRET]:010d}"
            return f',"card_number":{json.dumps(number)}'
        return ""

    def _warnings(self, draws: tuple[int, ...]) -> str:
        settings = self._world.settings
        if not share_hits(draws[Draw.WARNING], settings.warnings):
            return ""
        code = _WARNINGS[draws[Draw.WHICH_WARNING] % len(_WARNINGS)]
        warning = {"created_at": _WARNED_AT, "warning_code": code, "message": f"Simulated: {code}."}
        if code == "requested_code_unavailable":
            number = draws[Draw.SECRET]
            original = settings.canary_original_code or f"{number % 10_000:04d}"
            new = settings.canary_new_code or f"{number // 7 % 10_000:04d}"
            warning |= {
                "original_code": original,
                "new_code": new,
                "message": f"The PIN {original} was taken; {new} was set instead.",
            }
        return json.dumps(warning)
