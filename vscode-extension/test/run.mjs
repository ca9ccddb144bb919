// Tests the packaged extension in a real VS Code, as a person would use it:
// node test/run.mjs (after npm run package). With ORCHION_E2E_URL set it looks
// at that orchestrator instead of a scripted one: the trees must then show the
// names in ORCHION_E2E_EXPECT (separated by commas).
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ScriptedOrchestrator } from './orchestrator.mjs';
import { installVSCode, launchBrowser, startVSCode } from './vscode.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const vsix = join(here, '..', 'dist', 'orchion.vsix');
const screenshots = join(here, 'screenshots');
mkdirSync(screenshots, { recursive: true });

/** Milliseconds for anything to show up; VS Code is slow to start on two cores. */
const patience = 60_000;

const real = process.env.ORCHION_E2E_URL;
const orchestrator = real ? undefined : new ScriptedOrchestrator();
await orchestrator?.start();
const dir = mkdtempSync(join(tmpdir(), 'orchion-vscode-'));
const code = await startVSCode(installVSCode(), vsix, dir, {
	'orchion.url': real ?? orchestrator.url
});
const browser = await launchBrowser();
let passed = 0;
let failed = 0;
let page;
try {
	page = await browser.newPage({
		viewport: { width: 1280, height: 800 },
		permissions: ['clipboard-read', 'clipboard-write']
	});
	page.setDefaultTimeout(patience);
	// The workbench asks hosts on the internet for things it can do without.
	await page.route(
		(url) => !/^(127\.0\.0\.1|localhost)$/.test(url.hostname),
		(route) => route.abort()
	);
	await page.goto(code.url);
	await page.waitForSelector('.monaco-workbench');
	await page.click('.activitybar a[aria-label^="Orchion"]');

	if (real) {
		await check('the trees show the real orchestrator', async () => {
			for (const name of (process.env.ORCHION_E2E_EXPECT ?? '').split(',').filter(Boolean)) {
				await item(name).first().waitFor();
			}
		});
		await page.screenshot({ path: join(screenshots, 'real.png') });
	} else {
		await scripted();
	}
} finally {
	await browser.close();
	await code.stop();
	await orchestrator?.stop().catch(() => undefined);
	rmSync(dir, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function scripted() {
	await check('nodes, jobs and models are shown', async () => {
		await item('attic, online').waitFor();
		await item('greet, running').waitFor();
		await item('tiny, ready').waitFor();
		await page.screenshot({ path: join(screenshots, 'trees.png') });
	});
	await check('a node opens to its hardware', async () => {
		await item('attic, online').click();
		await item('NVIDIA GeForce RTX 3090, 24.0 GiB').waitFor();
		await page.screenshot({ path: join(screenshots, 'node.png') });
	});
	await check('changes arrive by themselves', async () => {
		orchestrator.send('job', { ...orchestrator.jobs[0], state: 'JOB_STATE_SUCCEEDED' });
		await item('greet, succeeded').waitFor();
		orchestrator.send('node', {
			id: 'node-cellar',
			hostname: 'cellar',
			state: 'NODE_STATE_ONLINE'
		});
		await item('cellar, online').waitFor();
		orchestrator.send('node', { id: 'node-cellar', state: 'NODE_STATE_OFFLINE' });
		await item('cellar, online').waitFor({ state: 'detached' });
	});
	await check('the id can be copied', async () => {
		await item('greet, succeeded').click({ button: 'right' });
		await page.getByRole('menuitem', { name: 'Copy ID' }).waitFor();
		await page.keyboard.press('ArrowDown');
		await page.keyboard.press('Enter');
		await page.locator('.statusbar').getByText('Copied job-1').waitFor();
	});
	await check('settings for clients can be copied', async () => {
		await menu('tiny, ready', 'Copy Endpoint Settings…');
		await page.getByRole('option', { name: /Ollama/ }).click();
		await page.locator('.statusbar').getByText('Copied settings for tiny').waitFor();
		assert.equal(
			await page.evaluate(() => navigator.clipboard.readText()),
			`OLLAMA_HOST=${orchestrator.url}/ollama\nOLLAMA_MODEL=tiny\n`
		);
	});
	await check('a model is deployed, scaled and removed', async () => {
		await command('Orchion: Deploy Model');
		await page.getByRole('option', { name: /Ollama/ }).click();
		await type('qwen3:0.6b');
		await item('qwen3:0.6b, pending · 0/1 ready').waitFor();
		await menu('qwen3:0.6b', 'Scale Model…');
		await type('3');
		await item('qwen3:0.6b, pending · 0/3 ready').waitFor();
		await page.screenshot({ path: join(screenshots, 'models.png') });
		await menu('qwen3:0.6b', 'Remove Model…');
		await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
		await item('qwen3:0.6b').waitFor({ state: 'detached' });
	});
	await check('a refusal is shown', async () => {
		await command('Orchion: Deploy Model');
		await page.getByRole('option', { name: /vLLM/ }).click();
		await type('refused');
		await page.getByText('deployment refused exists and differs').first().waitFor();
	});
	await check('a gone orchestrator is said, with what to do', async () => {
		await orchestrator.stop();
		await page.getByText('No orchestrator answers at the address that is set').waitFor();
		await page.screenshot({ path: join(screenshots, 'unreachable.png') });
	});
	await check('Refresh finds it again', async () => {
		orchestrator.nodes[0].hostname = 'attic-again';
		await orchestrator.start(orchestrator.port);
		await command('Orchion: Refresh');
		await item('attic-again, online').waitFor();
	});
	await check('without anything the trees teach the next command', async () => {
		orchestrator.nodes = orchestrator.jobs = orchestrator.deployments = [];
		await command('Orchion: Refresh');
		await page.getByText('node-agent --orchestrator').waitFor();
		await page.getByText('orchion model deploy').waitFor();
		await page.screenshot({ path: join(screenshots, 'empty.png') });
	});
	assert.equal(passed + failed, 10);
}

function item(label) {
	return page.locator(`[role=treeitem][aria-label*="${label}"]`);
}

/** Runs a command from the palette. */
async function command(title) {
	await page.keyboard.press('F1');
	await page.locator('.quick-input-widget input').fill(`>${title}`);
	await page
		.getByRole('option', { name: new RegExp(title) })
		.first()
		.waitFor();
	await page.keyboard.press('Enter');
}

/** Chooses from the menu of a line. */
async function menu(line, title) {
	await item(line).first().click({ button: 'right' });
	const entry = page.getByRole('menuitem', { name: title });
	await entry.hover(); // it takes no click so soon after it has opened
	await page.keyboard.press('Enter');
}

/** Answers the box that asks for a text. */
async function type(text) {
	const input = page.locator('.quick-input-widget .quick-input-box input[type=text]');
	await input.waitFor();
	await input.fill(text);
	await page.keyboard.press('Enter');
}

async function check(what, run) {
	try {
		await run();
		passed++;
		console.log(`ok      ${what}`);
	} catch (error) {
		failed++;
		console.log(`FAILED  ${what}\n${error.stack}`);
		await page
			.screenshot({ path: join(screenshots, `failed-${failed}.png`) })
			.catch(() => undefined);
	}
}
