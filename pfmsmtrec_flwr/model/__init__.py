"""The model of one scenario: embeddings, template experts, gates, towers, and which parameter is which part."""

from pfmsmtrec_flwr.model.base import ModelSpec, ScenarioModel
from pfmsmtrec_flwr.model.base_rates import output_biases
from pfmsmtrec_flwr.model.build import build_model, draw_parameters, make_model, parts_by_task
from pfmsmtrec_flwr.model.embeddings import FieldSpec
from pfmsmtrec_flwr.model.mmoe import MMoE
from pfmsmtrec_flwr.model.partition import partition
from pfmsmtrec_flwr.model.parts import HEAD_PARTS, TOWER_PARTS, Part, Slot

__all__ = [
    "HEAD_PARTS",
    "TOWER_PARTS",
    "FieldSpec",
    "MMoE",
    "ModelSpec",
    "Part",
    "ScenarioModel",
    "Slot",
    "build_model",
    "draw_parameters",
    "make_model",
    "output_biases",
    "partition",
    "parts_by_task",
]
