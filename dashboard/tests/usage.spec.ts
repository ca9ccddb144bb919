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
