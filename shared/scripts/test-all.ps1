# Runs the development task "test-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'test-all' $args
exit $LASTEXITCODE
