"""Semantic types and units of DTDL's QuantitativeTypes extension, and what each unit is to pint.

Version 2 (for DTDL v4) has the same lists as version 1 (for v3).

Source: DTDL.quantitativeTypes.v1 and .v2 of the Digital Twins Definition Language.
"""

from __future__ import annotations

import re

_INFORMATION = [
    f"{prefix}{unit}" for unit in ("bit", "byte") for prefix in ("", "exbi", "gibi", "kibi", "mebi", "tebi", "yobi", "zebi")
]

UNIT_TYPES: dict[str, frozenset[str]] = {
    name: frozenset(units.split() if isinstance(units, str) else units)
    for name, units in {
        "AccelerationUnit": "centimetrePerSecondSquared gForce metrePerSecondSquared",
        "AngleUnit": "degreeOfArc minuteOfArc radian secondOfArc turn",
        "AngularAccelerationUnit": "radianPerSecondSquared",
        "AngularVelocityUnit": "degreePerSecond radianPerSecond revolutionPerMinute revolutionPerSecond",
        "ApparentEnergyUnit": "gigavoltAmpereHour kilovoltAmpereHour megavoltAmpereHour voltAmpereHour",
        "ApparentPowerUnit": "gigavoltAmpere kilovoltAmpere megavoltAmpere millivoltAmpere voltAmpere",
        "AreaUnit": "acre hectare squareCentimetre squareFoot squareInch squareKilometre squareMetre squareMillimetre",
        "CapacitanceUnit": "farad microfarad millifarad nanofarad picofarad",
        "ChargeUnit": "ampereHour coulomb milliampereHour",
        "CurrentUnit": "ampere kiloampere microampere milliampere",
        "DataRateUnit": [f"{unit}PerSecond" for unit in _INFORMATION],
        "DataSizeUnit": _INFORMATION,
        "DensityUnit": "gramPerCubicMetre kilogramPerCubicMetre microgramPerCubicMetre milligramPerCubicMetre",
        "EnergyUnit": "britishThermalUnit electronvolt gigajoule gigawattHour joule kiloBritishThermalUnit kilojoule "
        "kilowattHour megaelectronvolt megajoule megawattHour milliwattHour terawattHour wattHour",
        "ForceUnit": "newton ounce pound ton",
        "FrequencyUnit": "gigahertz hertz kilohertz megahertz millihertz",
        "IlluminanceUnit": "footcandle lux",
        "InductanceUnit": "henry microhenry millihenry",
        "IonizingRadiationDoseUnit": "gray microgray microsievert milligray millisievert sievert",
        "IrradianceUnit": "wattPerSquareMetre",
        "LengthUnit": "astronomicalUnit centimetre foot inch kilometre metre micrometre mile millimetre nanometre nauticalMile",
        "LuminanceUnit": "candelaPerSquareMetre",
        "LuminousFluxUnit": "lumen",
        "LuminousIntensityUnit": "candela",
        "MagneticFluxUnit": "maxwell weber",
        "MagneticInductionUnit": "gauss tesla",
        "MassFlowRateUnit": "gramPerHour gramPerSecond kilogramPerHour kilogramPerSecond massPoundPerHour",
        "MassUnit": "gram kilogram massPound microgram milligram slug tonne",
        "PowerUnit": "britishThermalUnitPerHour gigajoulePerHour gigawatt horsepower joulePerHour joulePerSecond "
        "kiloBritishThermalUnitPerHour kilojoulePerHour kilojoulePerSecond kilowatt kilowattHourPerYear megajoulePerHour "
        "megawatt microwatt milliwatt tonOfRefrigeration watt",
        "PressureUnit": "bar decapascal hectopascal inchesOfMercury inchesOfWater kilopascal millibar millimetresOfMercury "
        "pascal poundPerSquareInch",
        "RadioactivityUnit": "becquerel gigabecquerel kilobecquerel megabecquerel",
        "ReactiveEnergyUnit": "gigavoltAmpereReactiveHour kilovoltAmpereReactiveHour megavoltAmpereReactiveHour "
        "voltAmpereReactiveHour",
        "ReactivePowerUnit": "gigavoltAmpereReactive kilovoltAmpereReactive megavoltAmpereReactive millivoltAmpereReactive "
        "voltAmpereReactive",
        "ResistanceUnit": "kiloohm megaohm milliohm ohm",
        "SoundPressureUnit": "bel decibel",
        "TemperatureUnit": "degreeCelsius degreeFahrenheit kelvin",
        "TimeUnit": "day hour microsecond millisecond minute nanosecond second year",
        "TorqueUnit": "newtonMetre",
        "Unitless": "partsPerBillion partsPerMillion partsPerQuadrillion partsPerTrillion percent unity",
        "VelocityUnit": "centimetrePerSecond kilometrePerHour kilometrePerSecond knot metrePerHour metrePerSecond milePerHour "
        "milePerSecond",
        "VoltageUnit": "kilovolt megavolt microvolt millivolt volt",
        "VolumeFlowRateUnit": "cubicFootPerMinute cubicMetrePerHour cubicMetrePerMinute cubicMetrePerSecond gallonPerHour "
        "gallonPerMinute litrePerHour litrePerMinute litrePerSecond millilitrePerHour millilitrePerMinute millilitrePerSecond",
        "VolumeUnit": "cubicCentimetre cubicFoot cubicInch cubicMetre fluidOunce gallon litre millilitre",
    }.items()
}

# unit type of each semantic type whose unit type is not called after it
_OTHERWISE = {
    "Concentration": "Unitless", "Distance": "LengthUnit", "ElectricCharge": "ChargeUnit", "EnergyRate": "PowerUnit",
    "Humidity": "DensityUnit", "Latitude": "AngleUnit", "Longitude": "AngleUnit", "Luminosity": "PowerUnit",
    "RelativeDensity": "Unitless", "RelativeHumidity": "Unitless", "Thrust": "ForceUnit", "TimeSpan": "TimeUnit",
}  # fmt: skip
_UNNAMED = frozenset({"ChargeUnit", "TimeUnit", "Unitless"})  # no semantic type is called like these
SEMANTIC_TYPES: dict[str, str] = {
    **{unit_type.removesuffix("Unit"): unit_type for unit_type in UNIT_TYPES if unit_type not in _UNNAMED},
    **_OTHERWISE,
}
DTDL_UNITS: frozenset[str] = frozenset().union(*UNIT_TYPES.values())

_PINT = {
    "gForce": "standard_gravity",
    "degreeOfArc": "degree",
    "minuteOfArc": "arcminute",
    "secondOfArc": "arcsecond",
    "partsPerBillion": "1e-9",
    "partsPerMillion": "1e-6",
    "partsPerQuadrillion": "1e-15",
    "partsPerTrillion": "1e-12",
    "unity": "dimensionless",
    "kiloBritishThermalUnit": "1000 * british_thermal_unit",
    "kiloBritishThermalUnitPerHour": "1000 * british_thermal_unit / hour",
    "footcandle": "lumen / foot ** 2",
    "massPound": "avoirdupois_pound",
    "massPoundPerHour": "avoirdupois_pound / hour",
    "ounce": "force_ounce",
    "pound": "force_pound",
    "ton": "force_ton",
    "inchesOfMercury": "inch_Hg",
    "inchesOfWater": "inch_H2O",
    "millimetresOfMercury": "millimeter_Hg",
    "degreeCelsius": "degC",
    "degreeFahrenheit": "degF",
    "newtonMetre": "newton * metre",
    "poundPerSquareInch": "psi",
    "maxwell": "1e-8 * weber",
    "gauss": "1e-4 * tesla",
    "bel": "10 * decibel",
    "metreOfWater": "9806.65 * pascal",
}
# a volt ampere that is apparent, and one that is reactive, are watts to pint; the prefix stands before volt
_PARTS = [
    (r"([a-z]*)volt_ampere_reactive_hour", r"\1watt * hour"),
    (r"([a-z]*)volt_ampere_reactive", r"\1watt"),
    (r"([a-z]*)volt_ampere_hour", r"\1watt * hour"),
    (r"([a-z]*)volt_ampere", r"\1watt"),
    (r"([a-z]*(?:watt|ampere))_hour", r"\1 * hour"),
    (r"([a-z]+)_squared", r"\1 ** 2"),
    (r"square_([a-z]+)", r"\1 ** 2"),
    (r"cubic_([a-z]+)", r"\1 ** 3"),
]


def pint_expression(unit: str) -> str:
    """What pint calls a unit of the extension; other texts come back as they are.

    >>> pint_expression("kilogramPerCubicMetre"), pint_expression("kilowattHour"), pint_expression("psi")
    ('kilogram / metre ** 3', 'kilowatt * hour', 'psi')
    """
    if unit in _PINT:
        return _PINT[unit]
    if unit not in DTDL_UNITS:
        return unit
    words = re.sub(r"([A-Z])", r"_\1", unit).lower()
    for pattern, replacement in _PARTS:
        words = re.sub(pattern, replacement, words)
    return " / ".join(words.split("_per_"))
