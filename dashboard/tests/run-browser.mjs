// Runs the browser tests: against the tests' own orchestrator, with a dashboard built just now, or,
// when ORCHION_E2E_URL names a real one, the smoke test against that and what it serves.
// Arguments go on to Playwright.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const script = (name, path) => join(dirname(require.resolve(`${name}/package.json`)), path);

function run(...args) {
	const { status, error } = spawnSync(process.execPath, args, { cwd: folder, stdio: 'inherit' });
	if (error) throw error;
	if (status !== 0) process.exit(status ?? 1);
}

const smoke = Boolean(process.env.ORCHION_E2E_URL);
if (!smoke) run(script('vite', 'bin/vite.js'), 'build', '--logLevel', 'warn');
run(
	script('@playwright/test', 'cli.js'),
	'test',
	`--project=${smoke ? 'smoke' : 'fixture'}`,
	...process.argv.slice(2)
);
