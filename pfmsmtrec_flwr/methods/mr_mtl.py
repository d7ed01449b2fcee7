"""Mean-regularized multi-task learning: a model per scenario, pulled to the mean of all.

MR-MTL (Liu, Hu, Wu and Smith, "On Privacy and Personalization in Cross-Silo Federated Learning", NeurIPS 2022, its
objective of mean-regularized multi-task learning; code kenziyuliu/private-cross-silo-fl, `trainers/mrmtl.py`) has
scenario k minimise ``F_k(w_k) + λ / 2 * ||w_k - mean||^2`` from its own w_k on. In every round the server averages the
models of all scenarios, by their training rows as the code does by default, and sends the mean down. λ = 0 is training
alone, and a large λ comes to FedAvg.

What differs: the published step is SGD on the sum; under Adam and Adagrad the pull takes a step of its own after theirs
(`training.objective.pull_to_anchors`). Embedding tables arrive as touched rows, and their mean follows
``federation.tables``, as in every other method here. The published models have no batch normalization; here its
parameters are pulled as all others, and its statistics, which are no parameters, stay w_k's. There is no differential
privacy.
"""

from __future__ import annotations

from pfmsmtrec_flwr.config import MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.methods.base import FederatedMethod, Range
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.methods.own_model import OwnModelClient


class MRMTLSettings(MethodSettings):
    """Settings of MR-MTL."""

    lam: NotNegative = 10.0
    """Weight λ of the pull of a scenario's model to the mean of all; steps are as FedProx's."""


class MRMTL(FedAvg):
    """The server of MR-MTL: it averages the scenarios' own models, and the mean goes down as their target."""

    @property
    def has_consensus(self) -> bool:
        """True, because the models that predict are not their mean."""
        return True


class MRMTLClient(OwnModelClient):
    """Trains its own model, every parameter of which that others have too is pulled to the mean."""

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(MRMTLSettings)

    @property
    def pull(self) -> float:
        """λ."""
        return self.settings.lam


METHOD = FederatedMethod(
    name="mr-mtl",
    summary="personal models, each pulled to the mean of all",
    source="Liu et al., NeurIPS 2022 (arXiv 2206.07902), MR-MTL",
    strategy=MRMTL,
    client=MRMTLClient,
    parameters="personalised",
    settings=MRMTLSettings,
    space={"lam": Range(1.0, 100.0, log=True)},
)
