# Runs the development task "build-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'build-all' $args
exit $LASTEXITCODE
