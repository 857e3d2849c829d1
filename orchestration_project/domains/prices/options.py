"""Options of loads of prices, which presets may set."""

from pydantic import create_model

from orchestration_project.engine.contracts.job_options import LoadPreset
from orchestration_project.engine.contracts.presets import Default, PresetTarget

LOAD_OP = "prices_daily_load"
"""The op that loads months."""

PRICES_LOADING = PresetTarget(
    job="prices_daily",
    op=LOAD_OP,
    model=create_model("PricesPreset", __base__=LoadPreset),  # its defaults are its own
    fields={
        "full": Default(False),
        "max_reject_ratio": Default(setting="prices_max_reject_ratio"),
    },
)
"""Fields that a preset may set for loads; its limit holds for replays too."""

PRESET_TARGETS = (PRICES_LOADING,)
