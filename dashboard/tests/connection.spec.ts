// The live connection: what changes shows by itself, and what happens when it is lost.
import type { Page } from '@playwright/test';
import { ago, deployment, job, node } from './fixture/objects';
import { expect, test } from './fixture/test';

const row = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });

test('nodes come, change and go by events, without a list being read again', async ({
	page,
	orchestrator
}) => {
	const lists: string[] = [];
	page.on('request', (request) => {
		if (new URL(request.url()).pathname === '/api/nodes') lists.push(request.url());
	});
	await page.goto('/nodes');
	await expect(row(page, 'borealis-1')).toContainText('37 %');
	await expect(page.getByText('7 active')).toBeVisible();

	const one = node(1);
	orchestrator.putNode({ ...one, usage: { ...one.usage, cpuPercent: 93 } });
	await expect(row(page, 'borealis-1')).toContainText('93 %');
	orchestrator.putNode(node(42));
	await expect(row(page, 'cygnus-42')).toContainText('online');
	orchestrator.putNode(node(2, { state: 'NODE_STATE_OFFLINE' }));
	await expect(row(page, 'cygnus-2')).toContainText('offline');
	await expect(page.getByText('2 offline')).toBeVisible();
	expect(lists).toHaveLength(1);
});

test('the last heartbeat is told relative to the orchestrator’s clock', async ({
	page,
	orchestrator
}) => {
	await page.clock.install();
	await page.goto('/nodes');
	orchestrator.putNode(node(1, { lastHeartbeatAt: new Date(Date.now() - 90_000).toISOString() }));
	await page.clock.runFor(1500);
	await expect(row(page, 'borealis-1')).toContainText('1 m ago');
	await page.clock.runFor(60_000);
	await expect(row(page, 'borealis-1')).toContainText('2 m ago');
});

test('a reset reads the lists again', async ({ page, orchestrator }) => {
	await page.goto('/nodes');
	await expect(row(page, 'atlas-0')).toBeVisible();
	// Changed behind the events' back.
	orchestrator.nodes.delete('node-0000');
	orchestrator.reset();
	await expect(row(page, 'atlas-0')).toHaveCount(0);
	await expect(row(page, 'borealis-1')).toBeVisible();
});

test('jobs and deployments change by events', async ({ page, orchestrator }) => {
	await page.goto('/');
	orchestrator.putJob(
		job(77, 'JOB_STATE_RUNNING', { name: 'brand-new', createdAt: new Date().toISOString() })
	);
	await expect(row(page, 'brand-new')).toContainText('running');
	orchestrator.putJob(
		job(77, 'JOB_STATE_SUCCEEDED', { name: 'brand-new', createdAt: new Date().toISOString() })
	);
	await expect(row(page, 'brand-new')).toContainText('succeeded');
	orchestrator.putDeployment(
		deployment('gemma', { spec: { model: 'gemma3:1b', engine: 'ENGINE_OLLAMA' } })
	);
	await expect(page.getByRole('link', { name: 'gemma3:1b' })).toBeVisible();
});

test('an answer that is older than an event does not undo it', async ({ page, orchestrator }) => {
	const one = orchestrator.jobs[0] ?? {};
	let release = () => {};
	const released = new Promise<void>((resolve) => (release = resolve));
	await page.route(`**/api/jobs/${one.id}`, async (route) => {
		await released;
		await route.fulfill({ json: one });
	});
	await page.goto(`/jobs/${one.id}`);
	const header = page.locator('#main header');
	await expect(header).toContainText('running');
	orchestrator.putJob({ ...one, state: 'JOB_STATE_SUCCEEDED', finishedAt: ago(0) });
	await expect(header).toContainText('succeeded');
	const answered = page.waitForResponse(`**/api/jobs/${one.id}`);
	release();
	await (await answered).finished();
	await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn))));
	await expect(header).toContainText('succeeded');
});

test.describe('without an orchestrator', () => {
	test.use({ networkErrors: true });

	test('lists that nobody answers are read again by themselves while events come', async ({
		page
	}) => {
		// Each list is asked for twice before it is given up.
		let refused = 0;
		await page.route('**/api/nodes?*', (route) =>
			++refused <= 2 ? route.abort('connectionreset') : route.continue()
		);
		await page.goto('/nodes');
		await expect(row(page, 'atlas-0')).toBeVisible();
		expect(refused).toBe(3);
	});

	test('what a job left is read when it is back', async ({ page, orchestrator }) => {
		const one = job(0, 'JOB_STATE_SUCCEEDED');
		const container = { ...one.spec?.container, artifacts: [{ path: '/out/**' }] };
		orchestrator.putJob({ ...one, spec: { ...one.spec, container } });
		orchestrator.artifacts.set(one.id ?? '', [
			{ attempt: 1, name: 'out/a', path: '/out/a', sizeBytes: '1', mode: 0o644 }
		]);
		// As when Chromium drops its connections because the machine's network has changed.
		const artifacts = `**/api/jobs/${one.id}/artifacts*`;
		await page.route(artifacts, (route) => route.abort('internetdisconnected'));
		await page.goto(`/jobs/${one.id}`);
		const panel = page.getByRole('region', { name: 'Artifacts' });
		await expect(panel).toContainText('They could not be read');
		await page.unroute(artifacts);
		await orchestrator.stop();
		await orchestrator.start();
		await expect(panel).toContainText('Attempt 1: 1 file');
	});

	test('a lost connection counts down, keeps what was read, and comes back', async ({
		page,
		orchestrator
	}) => {
		await page.goto('/nodes');
		await expect(row(page, 'atlas-0')).toBeVisible();
		await orchestrator.stop();
		const sidebar = page.getByRole('banner');
		await expect(sidebar.getByText('Disconnected').locator('visible=true')).toBeVisible();
		await expect(sidebar.getByText(/^Next try in \d+ s$/).locator('visible=true')).toBeVisible();
		await expect(
			page
				.getByText('cannot reach the orchestrator: it has stopped, or is just starting')
				.locator('visible=true')
		).toBeVisible();
		await expect(row(page, 'atlas-0')).toBeVisible();

		orchestrator.nodes.set('node-0099', node(99));
		await orchestrator.start();
		await page.getByRole('button', { name: 'Retry now' }).locator('visible=true').click();
		await expect(sidebar.getByText('Live', { exact: true }).locator('visible=true')).toBeVisible();
		await expect(row(page, 'draco-99')).toBeVisible();
	});

	test('it comes back by itself', async ({ page, orchestrator }) => {
		await page.goto('/nodes');
		await expect(row(page, 'atlas-0')).toBeVisible();
		await orchestrator.stop();
		await expect(page.getByText('Disconnected').locator('visible=true')).toBeVisible();
		await orchestrator.start();
		await expect(page.getByText('Live', { exact: true }).locator('visible=true')).toBeVisible();
	});

	test('an orchestrator that refuses says why, and Retry now works', async ({
		page,
		orchestrator
	}) => {
		orchestrator.failures = [
			{
				prefix: 'GET /api/',
				status: 403,
				body: { code: 7, message: 'host "evil" is not allowed', details: [] }
			}
		];
		await page.goto('/jobs');
		await expect(page.getByRole('heading', { name: 'Not connected' })).toBeVisible();
		await expect(page.locator('#main').getByText('host "evil" is not allowed')).toBeVisible();
		await expect(page.getByRole('link', { name: 'Change the address' })).toBeVisible();
		orchestrator.failures = [];
		await page.locator('#main').getByRole('button', { name: 'Retry now' }).click();
		await expect(page.getByRole('table', { name: 'Jobs' })).toBeVisible();
	});

	test('a list that fails is named, and read again on demand', async ({ page, orchestrator }) => {
		orchestrator.failures = [
			{
				prefix: 'GET /api/deployments',
				status: 500,
				body: { code: 13, message: 'disk is full', details: [] }
			}
		];
		await page.goto('/models');
		await expect(page.locator('#main').getByText('disk is full')).toBeVisible();
		orchestrator.failures = [];
		await page.locator('#main').getByRole('button', { name: 'Retry now' }).click();
		await expect(page.getByRole('heading', { name: 'qwen3:0.6b' })).toBeVisible();
	});
});

test('leaving the page lets the connection go', async ({ page, orchestrator }) => {
	await page.goto('/nodes');
	await expect(row(page, 'atlas-0')).toBeVisible();
	expect(orchestrator.watching).toBe(1);
	await page.goto('about:blank');
	await expect.poll(() => orchestrator.watching).toBe(0);
});
