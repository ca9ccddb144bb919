# Runs the development task "proto-gen"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'proto-gen' $args
exit $LASTEXITCODE
