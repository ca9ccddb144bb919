// Pictures of what is seldom seen, for people; written to tests/screenshots. looks.spec.ts takes
// those of every page.
import { picture } from './fixture/looks';
import { job, largeCluster, node } from './fixture/objects';
import { expect, test } from './fixture/test';

test('one node', async ({ page, orchestrator }) => {
	orchestrator.load({ nodes: [node(3)], jobs: [], deployments: [] });
	await page.goto('/');
	await expect(page.getByRole('meter', { name: 'draco-3' })).toBeVisible();
	await picture(page, 'one-node');
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
		await picture(page, name);
	}
});

test.describe('what goes wrong', () => {
	test.use({ networkErrors: true });

	test('unreachable, lost, refused', async ({ page, orchestrator }) => {
		await page.goto('/nodes');
		await expect(page.getByRole('table')).toBeVisible();
		await orchestrator.stop();
		await expect(page.getByText('Disconnected').locator('visible=true')).toBeVisible();
		await picture(page, 'lost');
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
		await picture(page, 'unreachable');
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
		await picture(page, 'toast');
	});
});
