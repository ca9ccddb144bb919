# Runs the development task "dev-dashboard"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'dev-dashboard' $args
exit $LASTEXITCODE
