"""The one configuration file (kind: ProviderConfig): its schema, its loading, its mistakes told by path."""
