"""How good is a release? One question a module, each answered on test patients."""
