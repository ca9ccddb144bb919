// The dashboard as the real orchestrator at ORCHION_E2E_URL serves it, with whatever runs there. It
// changes nothing. What a test needs and does not find there it does not guess.
import AxeBuilder from '@axe-core/playwright';
import { expect, test } from '@playwright/test';

const PAGES = [
	['/', 'Overview'],
	['/nodes', 'Nodes'],
	['/jobs', 'Jobs'],
	['/jobs/new', 'Submit a job'],
	['/queues', 'Queues'],
	['/schedules', 'Schedules'],
	['/schedules/new', 'New schedule'],
	['/models', 'Models'],
	['/models/new', 'Deploy a model'],
	['/usage', 'Usage'],
	['/settings', 'Settings']
] as const;

test('every page opens by its address, is live, logs no error and passes axe', async ({ page }) => {
	const errors: string[] = [];
	page.on('pageerror', (error) => errors.push(String(error)));
	page.on('console', (message) => {
		if (message.type() === 'error') errors.push(message.text());
	});
	for (const [path, heading] of PAGES) {
		await page.goto(path);
		await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
		await expect(
			page.getByText('Live', { exact: true }).locator('visible=true').first()
		).toBeVisible();
		expect((await new AxeBuilder({ page }).analyze()).violations, path).toEqual([]);
		await page.screenshot({
			path: `tests/screenshots/real-${heading.toLowerCase().replaceAll(' ', '-')}.png`,
			fullPage: true
		});
	}
	expect(errors).toEqual([]);
});

test('what the API lists is what the pages show', async ({ page, request }) => {
	const { nodes } = (await (await request.get('/api/nodes')).json()) as {
		nodes: { id: string; hostname: string }[];
	};
	await page.goto('/nodes');
	await expect(page.getByText(`${nodes.length} active`)).toBeVisible();
	for (const { id, hostname } of nodes.slice(0, 5)) {
		await expect(page.locator(`a[href="/nodes/${id}"]`)).toContainText(hostname);
	}
	const { jobs } = (await (await request.get('/api/jobs?pageSize=5')).json()) as {
		jobs: { id: string; name: string }[];
	};
	await page.goto('/jobs');
	for (const { id, name } of jobs)
		await expect(page.locator(`a[href="/jobs/${id}"]`)).toHaveText(name);
	for (const { id, name } of jobs.slice(0, 2)) {
		await page.goto(`/jobs/${id}`);
		await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
		await expect(page.getByRole('region', { name: 'Attempts' })).toBeVisible();
		await page.screenshot({ path: 'tests/screenshots/real-job.png', fullPage: true });
	}
	const { deployments } = (await (await request.get('/api/deployments')).json()) as {
		deployments: { name: string; spec: { model: string } }[];
	};
	await page.goto('/models');
	for (const { name, spec } of deployments)
		await expect(page.locator(`a[href="/models/${name}"]`)).toHaveText(spec.model);
	const version = (await (await request.get('/api/version')).json()) as { version: string };
	await page.goto('/settings');
	await expect(page.getByText(version.version, { exact: true })).toBeVisible();
});
