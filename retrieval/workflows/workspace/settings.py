"""The whole of a workspace's retrieval.toml: one section for each room, each declared beside what it configures."""

from __future__ import annotations

from pydantic import Field, model_validator

from retrieval.config import Section
from retrieval.data.config import DataConfig
from retrieval.data.corpus.config import CorpusConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.evaluation.config import EvaluationConfig
from retrieval.features.spec import FeatureSpec
from retrieval.index.config import IndexConfig
from retrieval.observability.alerts.config import AlertsConfig
from retrieval.registry.config import RegistryConfig
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.gates.config import GatesConfig
from retrieval.serving.config import ServingConfig
from retrieval.storage.config import StoreConfig
from retrieval.towers.config import TowerConfig
from retrieval.training.config import TrainingConfig
from retrieval.workflows.retrain.config import RetrainConfig


class ModelConfig(Section):
    """`[model]`: what is trained here."""

    name: str = Field(
        "main", pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the model; versions are name@1, name@2, …"
    )


class Settings(Section):
    """The whole of retrieval.toml."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    corpus: CorpusConfig = CorpusConfig()
    features: FeatureSpec = FeatureSpec()
    towers: TowerConfig = TowerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    serving: ServingConfig = ServingConfig()
    events: EventsConfig = EventsConfig()
    rollout: RolloutConfig = RolloutConfig()
    retrain: RetrainConfig = RetrainConfig()
    gates: GatesConfig = GatesConfig()
    alerts: AlertsConfig = AlertsConfig()
    registry: RegistryConfig = RegistryConfig()
    store: StoreConfig = StoreConfig()

    @model_validator(mode="after")
    def _seen_by_attributes_of_the_index(self) -> Settings:
        held = self.index.attributes
        absent = [] if held is None else [name for name in self.corpus.seen_by if name not in held]
        if absent:
            raise ValueError(f"corpus.seen_by names {', '.join(absent)}, which index.attributes leaves out")
        return self
