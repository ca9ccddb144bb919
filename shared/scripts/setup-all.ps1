# Runs the development task "setup-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'setup-all' $args
exit $LASTEXITCODE
