// Starts a real VS Code (the server of the code-server package, which needs no
// display) with the packaged extension in it, and a browser that shows it.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const codeServer = '4.100.3'; // VS Code 1.100.3

/** Installs VS Code once per machine; answers its folder. */
export function installVSCode() {
	const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
	const dir = join(cache, 'orchion', `vscode-${codeServer}`);
	const root = join(dir, 'node_modules', 'code-server', 'lib', 'vscode');
	const done = join(dir, 'installed');
	if (existsSync(done)) {
		return root;
	}
	console.log(`installing code-server ${codeServer} (once, about half a minute)`);
	rmSync(dir, { recursive: true, force: true });
	mkdirSync(dir, { recursive: true });
	writeFileSync(join(dir, 'package.json'), '{"private":true}');
	const npm = (cwd, ...args) =>
		execFileSync(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, {
			cwd,
			stdio: ['ignore', 'ignore', 'inherit'],
			shell: process.platform === 'win32',
			env: withoutNpmSettings()
		});
	npm(
		dir,
		'install',
		'--ignore-scripts',
		'--no-save',
		'--loglevel=error',
		`code-server@${codeServer}`
	);
	npm(root, 'install', '--omit=dev', '--ignore-scripts', '--loglevel=error');
	npm(root, 'rebuild', '@vscode/spdlog', 'native-watchdog', '--loglevel=error');
	writeFileSync(done, codeServer);
	return root;
}

/** npm hands its settings to the scripts it runs; here they are not wanted. */
function withoutNpmSettings() {
	return Object.fromEntries(
		Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith('npm_'))
	);
}

/** Starts VS Code with the extension; answers its address and how to stop it. */
export async function startVSCode(root, vsix, dir, settings) {
	const server = join(root, 'out', 'server-main.js');
	const dirs = [
		'--server-data-dir',
		join(dir, 'data'),
		'--extensions-dir',
		join(dir, 'extensions')
	];
	const env = {
		...withoutNpmSettings(),
		EXTENSIONS_GALLERY: '{"serviceUrl":"","itemUrl":"","resourceUrlTemplate":""}'
	};
	// Settings of a machine (orchion.url is one) belong to the server's machine, the
	// others to the user. VS Code drops a machine's from the user's file as soon as
	// it knows the extension, which may be before the extension has read it.
	const own = {
		User: {
			'security.workspace.trust.enabled': false,
			'telemetry.telemetryLevel': 'off',
			'update.mode': 'none',
			'extensions.autoUpdate': false,
			'extensions.autoCheckUpdates': false,
			'workbench.startupEditor': 'none',
			'workbench.tips.enabled': false
		},
		Machine: settings
	};
	for (const [owner, values] of Object.entries(own)) {
		mkdirSync(join(dir, 'data', 'data', owner), { recursive: true });
		writeFileSync(join(dir, 'data', 'data', owner, 'settings.json'), JSON.stringify(values));
	}
	mkdirSync(join(dir, 'workspace'), { recursive: true });
	execFileSync(
		process.execPath,
		[server, '--accept-server-license-terms', ...dirs, '--install-extension', vsix],
		{ env, stdio: ['ignore', 'ignore', 'inherit'] }
	);
	const port = await freePort();
	const child = spawn(
		process.execPath,
		[
			server,
			'--accept-server-license-terms',
			...dirs,
			'--host',
			'127.0.0.1',
			'--port',
			String(port),
			'--without-connection-token',
			'--telemetry-level',
			'off'
		],
		{ env, stdio: ['ignore', 'pipe', 'inherit'] }
	);
	const ended = new Promise((resolve) => child.on('exit', resolve));
	await new Promise((resolve, reject) => {
		let said = '';
		child.stdout.on('data', (data) => {
			said += data;
			if (said.includes('Extension host agent listening')) {
				resolve();
			}
		});
		child.on('exit', (code) => reject(new Error(`VS Code ended with ${code}: ${said}`)));
	});
	return {
		url: `http://127.0.0.1:${port}/?folder=${encodeURIComponent(join(dir, 'workspace'))}`,
		async stop() {
			child.kill('SIGTERM');
			const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
			await ended;
			clearTimeout(timer);
		}
	};
}

function freePort() {
	return new Promise((resolve, reject) => {
		const server = createServer();
		server.on('error', reject);
		server.listen(0, '127.0.0.1', () => {
			const { port } = server.address();
			server.close(() => resolve(port));
		});
	});
}

const browsers = [
	process.env.CHROMIUM_PATH,
	'/usr/bin/chromium',
	'/usr/bin/chromium-browser',
	'/usr/bin/google-chrome',
	'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
	'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe'
];

export async function launchBrowser() {
	const executablePath = browsers.find((path) => path && existsSync(path));
	if (!executablePath) {
		throw new Error(
			'no Chromium here: install one (Debian: apt-get install chromium) or set CHROMIUM_PATH'
		);
	}
	return chromium.launch({
		executablePath,
		args: [
			'--no-sandbox',
			'--disable-gpu',
			'--disable-quic',
			'--no-first-run',
			'--disable-background-networking',
			'--disable-component-update',
			'--disable-sync'
		]
	});
}
