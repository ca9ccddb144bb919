import { job, queue } from './fixture/objects';
import { expect, test } from './fixture/test';

test('queues show what waits and runs, and change by events', async ({ page, orchestrator }) => {
	await page.goto('/queues');
	const rows = page.getByRole('table', { name: 'Queues' }).getByRole('row');
	await expect(rows).toHaveCount(4);
	await expect(rows.nth(1)).toContainText('default');
	await expect(rows.nth(3)).toContainText('paused');
	await expect(rows.nth(3)).toContainText('1,204');
	await expect(page.getByText('1 paused')).toBeVisible();
	orchestrator.putQueue(queue('default', { queued: '77' }));
	await expect(rows.nth(1)).toContainText('77');
	orchestrator.putQueue(queue('annual'));
	await expect(rows.nth(1)).toContainText('annual');
});

test('a queue is paused and resumed, and edited where it stands', async ({
	page,
	orchestrator
}) => {
	await page.goto('/queues');
	await page.getByRole('button', { name: 'Resume night' }).click();
	await expect(page.getByRole('button', { name: 'Pause night' })).toBeVisible();
	await page.getByRole('button', { name: 'Edit night' }).click();
	const form = page.getByRole('form', { name: 'Settings of night' });
	const weight = form.getByLabel('Weight');
	await expect(weight).toBeFocused();
	await expect(weight).toHaveValue('2');
	await weight.fill('1001');
	await form.getByLabel('Running at most').fill('few');
	await page.keyboard.press('Enter');
	await expect(form.getByText('use a whole number from 1 to 1000', { exact: true })).toBeVisible();
	await expect(form.getByText('use a whole number from 0 to 1000000')).toBeVisible();
	await expect(weight).toBeFocused();
	await weight.fill('7');
	await form.getByLabel('Running at most').fill('');
	await page.keyboard.press('Enter');
	await expect(form).toHaveCount(0);
	const row = page.getByRole('row').filter({ hasText: 'night' });
	await expect(row).toContainText('no limit');
	expect(orchestrator.calls.map(({ method, path, body }) => [method, path, body])).toEqual([
		['PATCH', '/api/queues/night', { paused: false }],
		['PATCH', '/api/queues/night', { weight: 7, maxRunning: 0 }]
	]);
	await page.getByRole('button', { name: 'Edit default' }).click();
	await page.keyboard.press('Escape');
	await expect(page.getByRole('form')).toHaveCount(0);
});

test('a queue leads to its jobs', async ({ page, orchestrator }) => {
	const one = job(700, 'JOB_STATE_QUEUED', { spec: { chat: { model: 'm' }, queue: 'night' } });
	orchestrator.putJob(one);
	await page.goto('/queues');
	await page.getByRole('link', { name: 'night' }).click();
	await expect(page.getByRole('row')).toHaveCount(2);
	await expect(page.getByRole('row').nth(1)).toContainText(one.name ?? '');
	await expect(page).toHaveURL(/\/jobs\?queue=night$/);
	await page.getByRole('button', { name: 'Queue night: show all queues' }).click();
	await expect(page.getByText('25 shown')).toBeVisible();
	await expect(page).toHaveURL(/\/jobs$/);
});

test('a queue is set up before a job names it', async ({ page, orchestrator }) => {
	await page.goto('/queues');
	await page.getByRole('button', { name: 'Set up a queue' }).click();
	const form = page.getByRole('form', { name: 'A new queue' });
	await form.getByRole('button', { name: 'Save' }).click();
	await expect(form.getByText('use 1 to 63 of A-Z')).toBeVisible();
	await form.getByLabel('Name').fill('reports');
	await form.getByLabel('Weight').fill('3');
	await form.getByRole('button', { name: 'Save' }).click();
	await expect(page.getByRole('row').filter({ hasText: 'reports' })).toBeVisible();
	expect(orchestrator.calls[0]).toEqual({
		method: 'PATCH',
		path: '/api/queues/reports',
		body: { weight: 3, maxRunning: 0 }
	});
});

test('many queues are filtered by name', async ({ page, orchestrator }) => {
	for (let index = 0; index < 1000; index++) {
		orchestrator.queues.set(`team-${index}`, queue(`team-${index}`));
	}
	await page.goto('/queues');
	await expect(page.locator('#main header').getByText('1,003 queues')).toBeVisible();
	await expect(page.getByRole('row')).toHaveCount(101);
	await page.getByRole('button', { name: 'Show more queues' }).click();
	await expect(page.getByText('200 of 1,003 queues')).toBeVisible();
	await page.keyboard.press('/');
	await page.keyboard.type('99 TEAM');
	await expect(page.getByRole('row')).toHaveCount(20);
	await page.keyboard.type('s');
	await expect(page.getByText('No queue has “99 TEAMs” in its name.')).toBeVisible();
});

test.describe('what is refused', () => {
	test.use({ networkErrors: true });

	test('is told, and what was typed stays', async ({ page, orchestrator }) => {
		orchestrator.failures = [
			{
				prefix: 'PATCH /api/queues/night',
				status: 429,
				body: { code: 8, message: 'there are 10,000 queues already', details: [] }
			}
		];
		await page.goto('/queues');
		await page.getByRole('button', { name: 'Edit night' }).click();
		await page.getByLabel('Weight').fill('9');
		await page.getByRole('button', { name: 'Save' }).click();
		await expect(
			page.getByRole('alert').filter({ hasText: 'Could not change the queue night' })
		).toContainText('there are 10,000 queues already');
		await expect(page.getByLabel('Weight')).toHaveValue('9');
		orchestrator.failures = [
			{
				prefix: 'GET /api/queues',
				status: 503,
				body: { code: 14, message: 'the store is being restored', details: [] }
			}
		];
		await page.reload();
		await expect(page.getByText('the store is being restored')).toBeVisible();
		orchestrator.failures = [];
		await page.getByRole('button', { name: 'Try again' }).click();
		await expect(page.getByRole('row')).toHaveCount(4);
	});
});
