# Runs the development task "format-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'format-all' $args
exit $LASTEXITCODE
