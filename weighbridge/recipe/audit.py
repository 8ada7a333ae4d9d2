"""The section `audit`: which limitations are measured, and how long that may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from weighbridge.recipe.section import Auto, Key, Section, switch


class GeneralizationOptions(Section):
    enabled: bool = Key(True, "gap, seeds, shuffled labels, rows of another time or group")


class CalibrationOptions(Section):
    enabled: bool = Key(True, "whether it is right as often as it says, its sets, what it says of strange rows")


class RobustnessOptions(Section):
    enabled: bool = Key(True, "behaviour under damage and attack")


class ExplanationOptions(Section):
    enabled: bool = Key(True, "why it answers as it does, and whether the explanation holds")


class FairnessOptions(Section):
    enabled: bool = Key(True, "differences between the groups of data.protected")
    selected: str | None = Key(None, "of two classes the one that a row is selected by (hired, granted, flagged); default: the second")
    tolerance: float = Key(0.05, "difference of rates between groups that is let pass; of numbers a share of the target's standard deviation", gt=0, lt=1)


class PrivacyOptions(Section):
    enabled: bool = Key(True, "what can be learnt about the training rows")


class QualityOptions(Section):
    enabled: bool = Key(True, "label errors, imbalance, outliers; the rows most worth a look")


class CostOptions(Section):
    enabled: bool = Key(True, "FLOPs, memory, time, energy, price")
    country: str | None = Key(None, "country of the electricity by its ISO 3166 code of three letters, e.g. FRA or CHN; default: carbon is not measured", pattern="^[A-Za-z]{3}$")
    hour_price: float | None = Key(None, "what an hour of such a machine costs; default: prices are not measured", ge=0)
    kwh_price: float | None = Key(None, "what a kWh of electricity costs, added to the hours of the machine", ge=0)
    currency: str = Key("EUR", "of both prices", min_length=1, max_length=8)


class SecurityOptions(Section):
    enabled: bool = Key(True, "what the artefact holds and depends on, backdoors, limits of inputs")
    advisories: str | None = Key(None, "known vulnerabilities: a file of pip-audit (JSON), of OSV records (JSON, JSON lines), or a folder or .zip of them; default: not measured")


class AuditSection(Section):
    enabled: bool = Key(True, "false: no limitation is measured beyond what the evaluation shows")
    budget: float | Auto = Key("auto", "minutes that all audits together may take, as each one estimates; auto: as long as the training took, at least two minutes; one that does not fit is not measured, and says so")
    generalization: Annotated[GeneralizationOptions, switch] = Key(GeneralizationOptions(), "does it hold on rows it did not see?")
    calibration: Annotated[CalibrationOptions, switch] = Key(CalibrationOptions(), "does it know what it knows?")
    robustness: Annotated[RobustnessOptions, switch] = Key(RobustnessOptions(), "does it hold when inputs are damaged or attacked?")
    explanation: Annotated[ExplanationOptions, switch] = Key(ExplanationOptions(), "why does it answer as it does?")
    fairness: Annotated[FairnessOptions, switch] = Key(FairnessOptions(), "does it treat groups alike?")
    privacy: Annotated[PrivacyOptions, switch] = Key(PrivacyOptions(), "what does it give away?")
    quality: Annotated[QualityOptions, switch] = Key(QualityOptions(), "what is wrong with the rows?")
    cost: Annotated[CostOptions, switch] = Key(CostOptions(), "what does it cost?")
    security: Annotated[SecurityOptions, switch] = Key(SecurityOptions(), "what could harm its user?")

    @field_validator("budget")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and value <= 0:
            raise ValueError(f"a budget of {value:g} minutes measures nothing; set audit.enabled: false, or give more than 0")
        return value
