# Runs the development task "run-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'run-all' $args
exit $LASTEXITCODE
