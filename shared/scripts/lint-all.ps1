# Runs the development task "lint-all"; --help tells its options.
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'lib/dev.ps1')
Invoke-Dev 'lint-all' $args
exit $LASTEXITCODE
