"""sparkcli: post-train language models with SPARK, as composable Unix subcommands."""

__version__ = "0.6.0"
