"""The only importer of kubernetes_asyncio: raw-JSON client, reflector, store, patches, events, auth reviews."""
