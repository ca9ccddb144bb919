# Runs the development task "clean-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'clean-all' $args
exit $LASTEXITCODE
