// Pictures of the pages in the states worth looking at, for people; written to tests/screenshots.
import type { Page } from '@playwright/test';
import { ago, job, largeCluster, node } from './fixture/objects';
import { expect, test } from './fixture/test';

const SIZES = {
	wide: { width: 1440, height: 900 },
	narrow: { width: 375, height: 812 }
};

async function shot(page: Page, name: string, fullPage = false) {
	await page.evaluate(() => document.fonts.ready);
	await page.screenshot({ path: `tests/screenshots/${name}.png`, fullPage });
}

const PAGES = [
	{ name: 'overview', path: '/', ready: 'Overview' },
	{ name: 'nodes', path: '/nodes', ready: 'Nodes' },
	{ name: 'node', path: '/nodes/node-0003', ready: 'draco-3' },
	{ name: 'jobs', path: '/jobs', ready: 'Jobs' },
	{ name: 'queues', path: '/queues', ready: 'Queues' },
	{ name: 'submit', path: '/jobs/new', ready: 'Submit a job' },
	{ name: 'models', path: '/models', ready: 'Models' },
	{ name: 'model', path: '/models/llama3-2-3b', ready: 'llama3.2:3b' },
	{ name: 'deploy', path: '/models/new', ready: 'Deploy a model' },
	{ name: 'settings', path: '/settings', ready: 'Settings' }
];

for (const theme of ['light', 'dark'] as const) {
	for (const [size, viewport] of Object.entries(SIZES)) {
		test(`pages, ${theme}, ${size}`, async ({ page, orchestrator }) => {
			await page.setViewportSize(viewport);
			await page.emulateMedia({ colorScheme: theme });
			for (const { name, path, ready } of PAGES) {
				await page.goto(path);
				await expect(page.getByRole('heading', { level: 1, name: ready })).toBeVisible();
				await expect(
					page.getByText('Live', { exact: true }).locator('visible=true').first()
				).toBeVisible();
				await shot(page, `${name}-${theme}-${size}`, true);
			}
			const running = orchestrator.jobs[0];
			const id = running?.id ?? '';
			const lines = [
				'agent: goal: sum the numbers of the report',
				'\u001b[32magent: \u001b[1mmodel\u001b[0m qwen3:0.6b \u001b[30;43manswers\u001b[0m \u001b[38;5;208min\u001b[0m \u001b[2;36m4 s\u001b[0m',
				'agent: calling tool add(19, 23)',
				'agent: the sum is 42'
			];
			orchestrator.putJob({
				...running,
				attempts: [
					{
						number: 1,
						nodeId: 'node-0001',
						state: 'ATTEMPT_STATE_LOST',
						assignedAt: ago(170),
						startedAt: ago(160),
						finishedAt: ago(90),
						reason: 'the node stopped renewing the lease'
					},
					{
						number: 2,
						nodeId: 'node-0002',
						state: 'ATTEMPT_STATE_FAILED',
						assignedAt: ago(80),
						startedAt: ago(75),
						finishedAt: ago(60),
						exitCode: 137,
						reason: 'the container used more memory than its limit of 512 MiB'
					},
					{
						number: 3,
						nodeId: 'node-0003',
						state: 'ATTEMPT_STATE_RUNNING',
						assignedAt: ago(50),
						startedAt: ago(45)
					}
				],
				createdAt: ago(180)
			});
			orchestrator.appendLog(
				id,
				...Array.from({ length: 40 }, (_, index) => ({
					stream: index % 9 === 8 ? 'stderr' : 'stdout',
					attempt: 1,
					line: String(index + 1),
					time: new Date().toISOString(),
					text: lines[index % 4]
				}))
			);
			await page.goto(`/jobs/${id}`);
			await expect(page.getByText('agent: the sum is 42').first()).toBeVisible();
			await page.getByRole('searchbox').fill('model');
			await page.keyboard.press('Enter');
			await shot(page, `job-${theme}-${size}`, true);
			const queued = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_QUEUED');
			orchestrator.explanation = {
				jobId: queued?.id,
				summary: 'No node fits: 6 of 6 have too little free memory.',
				nodes: [...orchestrator.nodes.values()].map((node, index) => ({
					nodeId: node.id,
					hostname: node.hostname,
					fits: index === 5,
					reasons: [
						'needs 512 MiB of memory, 120 MiB are free',
						'label.room is lab, the job asks for label.room=office'
					].slice(index === 5 ? 2 : index % 2),
					score: index === 5 ? 71 : 0
				}))
			};
			await page.goto(`/jobs/${queued?.id}`);
			await expect(page.getByText('No node fits: 6 of 6')).toBeVisible();
			await shot(page, `queued-${theme}-${size}`, true);
		});
	}
}

test('empty pages', async ({ page, orchestrator }) => {
	orchestrator.load({ nodes: [], jobs: [], deployments: [] });
	for (const name of ['nodes', 'jobs', 'models']) {
		await page.goto(`/${name}`);
		await expect(page.getByRole('heading', { level: 2 })).toBeVisible();
		await shot(page, `empty-${name}`);
	}
});

test('one node', async ({ page, orchestrator }) => {
	orchestrator.load({ nodes: [node(3)], jobs: [], deployments: [] });
	await page.goto('/');
	await expect(page.getByRole('meter', { name: 'draco-3' })).toBeVisible();
	await shot(page, 'one-node');
});

test('a thousand', async ({ page, orchestrator }) => {
	orchestrator.load(largeCluster());
	for (const [name, path] of [
		['thousand-overview', '/'],
		['thousand-nodes', '/nodes'],
		['thousand-jobs', '/jobs']
	] as const) {
		await page.goto(path);
		await expect(page.getByRole('table').first()).toBeVisible();
		await shot(page, name);
	}
});

test.describe('what goes wrong', () => {
	test.use({ networkErrors: true });

	test('unreachable, lost, refused', async ({ page, orchestrator }) => {
		await page.goto('/nodes');
		await expect(page.getByRole('table')).toBeVisible();
		await orchestrator.stop();
		await expect(page.getByText('Disconnected').locator('visible=true')).toBeVisible();
		await shot(page, 'lost');
		await orchestrator.start();
		orchestrator.failures = [
			{
				prefix: 'GET /api/',
				status: 503,
				body: { code: 14, message: 'the store is being restored', details: [] }
			}
		];
		await page.goto('/nodes');
		await expect(page.locator('#main').getByText('the store is being restored')).toBeVisible();
		await shot(page, 'unreachable');
		orchestrator.failures = [
			{
				prefix: 'POST /api/jobs',
				status: 400,
				body: { code: 9, message: 'the job is already SUCCEEDED', details: [] }
			}
		];
		const failed = job(900, 'JOB_STATE_FAILED');
		orchestrator.putJob(failed);
		await page.goto(`/jobs/${failed.id}`);
		await page.getByRole('button', { name: 'Retry' }).click();
		await page.getByRole('dialog').getByRole('button', { name: 'Retry job' }).click();
		await expect(page.getByText('the job is already SUCCEEDED')).toBeVisible();
		await shot(page, 'toast');
	});
});
