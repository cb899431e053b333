"""The zarr store of a study: layout, volumes, records, and what is finished."""

from mgsflow.store.ledger import Ledger
from mgsflow.store.region import Records, Region
from mgsflow.store.remote import RemoteStore, remote_url
from mgsflow.store.specimen import Scan, Specimen
from mgsflow.store.study import Study

__all__ = ["Ledger", "Records", "Region", "RemoteStore", "Scan", "Specimen", "Study", "remote_url"]
