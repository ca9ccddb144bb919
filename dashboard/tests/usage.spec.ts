import { expectGoodLooks, picture } from './fixture/looks';
import { expect, test } from './fixture/test';
import { noUsage, usageOf } from './fixture/usage';

test('usage is shown over time, by what is chosen, and the choice is in the address', async ({
	page
}) => {
	await page.goto('/usage');
	await expect(
		page.getByRole('img', { name: /^Tokens by model: .* in one of 60 steps$/ })
	).toBeVisible();
	const sums = page.getByRole('region', { name: 'Usage by model' });
	await expect(sums.getByRole('row')).toHaveCount(4);
	await expect(sums.getByRole('rowheader').first()).toHaveText('qwen3:0.6b');
	await page
		.getByRole('navigation', { name: 'Group by' })
		.getByRole('link', { name: 'Node' })
		.click();
	await expect(page).toHaveURL(/\/usage\?range=24h&by=node$/);
	await expect(page.getByRole('rowheader', { name: 'no node answered' })).toBeVisible();
	const range = page.getByRole('navigation', { name: 'Range' });
	await range.getByRole('link', { name: 'Week' }).focus();
	await page.keyboard.press('Enter');
	await expect(page).toHaveURL(/range=7d&by=node$/);
	await expect(range.getByRole('link', { name: 'Week' })).toHaveAttribute('aria-current', 'true');
	await expect(range.getByRole('link', { name: 'Week' })).toBeFocused();
	await page.reload();
	await expect(page.getByRole('region', { name: 'Usage by node' })).toBeVisible();
});

test('the last requests are listed by how they ended', async ({ page }) => {
	await page.goto('/usage');
	const calls = page.getByRole('region', { name: 'Last requests' });
	await expect(calls.getByRole('row')).toHaveCount(25);
	await expect(calls.getByText('broken off')).toHaveCount(1);
	await page
		.getByRole('navigation', { name: 'Outcome' })
		.getByRole('link', { name: 'Failed' })
		.click();
	await expect(page).toHaveURL(/status=failed$/);
	await expect(calls.getByRole('row')).toHaveCount(5);
	await expect(calls.getByText('failed (404)').first()).toBeVisible();
	await calls.getByRole('link', { name: 'node-0003' }).first().click();
	await expect(page).toHaveURL(/\/nodes\/node-0003$/);
});

test('before anybody has asked a model, it says what will be here', async ({
	page,
	orchestrator
}) => {
	orchestrator.usage = noUsage;
	await page.goto('/usage');
	await expect(
		page.getByRole('heading', { name: 'Nobody asked a model in this time' })
	).toBeVisible();
	await expectGoodLooks(page, 'usage-empty');
});

test('what is shown keeps its own names until what was chosen has come', async ({
	page,
	orchestrator
}) => {
	await page.goto('/usage?by=node');
	await expect(page.getByRole('rowheader', { name: 'no node answered' })).toBeVisible();
	let open = () => {};
	orchestrator.holds.push({
		prefix: 'GET /api/usage?',
		until: new Promise<void>((resolve) => (open = resolve))
	});
	await page
		.getByRole('navigation', { name: 'Group by' })
		.getByRole('link', { name: 'Model' })
		.click();
	await expect(page).toHaveURL(/by=model$/);
	await expect(page.getByRole('rowheader', { name: 'no such model' })).toHaveCount(0);
	await expect(page.getByRole('region', { name: 'Usage by node' })).toBeVisible();
	open();
	await expect(page.getByRole('region', { name: 'Usage by model' })).toBeVisible();
	await expect(page.getByRole('rowheader').first()).toHaveText('qwen3:0.6b');
});

test('the range is counted by the orchestrator’s clock', async ({ page, orchestrator }) => {
	await page.clock.install({ time: new Date(Date.now() - 3 * 3_600_000) });
	await page.goto('/usage');
	await expect(page.getByRole('region', { name: 'Usage by model' })).toBeVisible();
	orchestrator.putNode({ ...orchestrator.nodes.get('node-0001') });
	await page.clock.runFor(3000);
	const asked = page.waitForRequest((one) => one.url().includes('/api/usage?'));
	await page.getByRole('navigation', { name: 'Range' }).getByRole('link', { name: 'Hour' }).click();
	const from = Date.parse(new URL((await asked).url()).searchParams.get('from') ?? '');
	expect(Math.abs(Date.now() - 3_600_000 - from)).toBeLessThan(60_000);
});

test('requests and series of the same name are each shown', async ({ page, orchestrator }) => {
	// A client may send any X-Request-Id, twice too, and name a model as the rest is named.
	orchestrator.requestIds = () => 'mine';
	orchestrator.usage = (query) => {
		const usage = usageOf(query) as { series: { key: string; others: boolean }[] };
		usage.series = usage.series.map((one, at) => ({
			...one,
			key: at === 1 ? 'others' : one.key,
			others: at === 2
		}));
		return usage;
	};
	await page.goto('/usage');
	await expect(page.getByRole('region', { name: 'Last requests' }).getByRole('row')).toHaveCount(
		25
	);
	await expect(page.getByRole('rowheader', { name: 'others', exact: true })).toHaveCount(2);
});

test.describe('what goes wrong', () => {
	test.use({ networkErrors: true });

	test('is said, and tried again', async ({ page, orchestrator }) => {
		orchestrator.failures.push({
			prefix: 'GET /api/usage',
			status: 503,
			body: { code: 14, message: 'the database is busy', details: [] }
		});
		await page.goto('/usage');
		const notice = page.getByRole('alert').filter({ hasText: 'The usage could not be read' });
		await expect(notice).toContainText('the database is busy');
		await picture(page, 'usage-error');
		orchestrator.failures = [];
		orchestrator.usage = usageOf;
		await notice.getByRole('button', { name: 'Try again' }).click();
		await expect(page.getByRole('region', { name: 'Usage by model' })).toBeVisible();
		await expect(notice).toHaveCount(0);
	});
});
