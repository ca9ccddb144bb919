# What the .ps1 scripts share: Invoke-Dev TASK OPTIONS runs a task of shared/cmd/dev.
# The program is built and then called, rather than run by `go run`, which would
# stand between it and Ctrl-C and lose its exit code.

function Invoke-Dev {
  param([string] $Task, [object[]] $Options)

  $root = Split-Path -Parent (Split-Path -Parent $PSScriptRoot)
  if (-not (Get-Command go -ErrorAction SilentlyContinue)) {
    [Console]::Error.WriteLine('Go is missing: install 1.26 or newer from https://go.dev/dl/ (or with winget install GoLang.Go) and try again.')
    exit 1
  }
  $name = 'dev'
  if ($env:OS -eq 'Windows_NT') { $name = 'dev.exe' }
  $program = Join-Path (Join-Path $root 'bin') $name
  Push-Location $root
  try {
    & go build -o $program ./shared/cmd/dev
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
  } finally {
    Pop-Location
  }
  & $program $Task @Options
}
