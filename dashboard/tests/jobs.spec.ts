import { ago, job, largeCluster } from './fixture/objects';
import { expect, test } from './fixture/test';

test('state filters are asked of the orchestrator and kept in the address', async ({ page }) => {
	await page.goto('/jobs');
	await expect(page.getByRole('row')).toHaveCount(25);
	await page.getByRole('button', { name: 'failed' }).click();
	await expect(page.getByRole('row')).toHaveCount(4);
	await expect(page).toHaveURL(/\?state=JOB_STATE_FAILED$/);
	await page.reload();
	await expect(page.getByRole('button', { name: 'failed' })).toHaveAttribute(
		'aria-pressed',
		'true'
	);
	await expect(page.getByRole('row')).toHaveCount(4);
	await page.getByLabel('Node').selectOption('node-0004');
	await expect(page).toHaveURL(/node=node-0004/);
	await expect(page.getByRole('row').nth(1)).toContainText('atlas-4');
});

test('a job leaves a filtered list when its state changes', async ({ page, orchestrator }) => {
	await page.goto('/jobs?state=JOB_STATE_RUNNING');
	await expect(page.getByRole('row')).toHaveCount(4);
	orchestrator.putJob(job(0, 'JOB_STATE_SUCCEEDED'));
	await expect(page.getByRole('row')).toHaveCount(3);
	orchestrator.putJob(job(1, 'JOB_STATE_RUNNING'));
	await expect(page.getByRole('row')).toHaveCount(4);
});

test('older jobs are read page by page', async ({ page, orchestrator }) => {
	orchestrator.load(largeCluster(500));
	await page.goto('/jobs');
	await expect(page.getByText('200+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('400+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('500 shown')).toBeVisible();
	await expect(page.getByRole('button', { name: 'Show older jobs' })).toHaveCount(0);
});

test('labels and text are filtered by, and kept in the address', async ({ page, orchestrator }) => {
	orchestrator.load(largeCluster(500));
	await page.goto('/jobs');
	const labels = page.getByRole('textbox', { name: 'Labels' });
	await labels.fill('=ops');
	await expect(page.getByText('write key=value, key!=value or key')).toBeVisible();
	await expect(labels).toHaveAttribute('aria-invalid', 'true');
	await labels.fill('team=ops');
	await labels.press('Enter');
	await expect(page).toHaveURL(/\?label=team%3Dops$/);
	await expect(page.getByText('200+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('250 shown')).toBeVisible();
	await page.getByRole('searchbox', { name: 'Filter jobs' }).fill('summarise');
	await expect(page).toHaveURL(/text=summarise$/);
	await expect(page.getByText('125 shown')).toBeVisible();
	// What comes in is filtered too.
	orchestrator.putJob(job(600, 'JOB_STATE_QUEUED', { createdAt: ago(0), labels: { team: 'x' } }));
	orchestrator.putJob(job(604, 'JOB_STATE_QUEUED', { createdAt: ago(0), labels: { team: 'ops' } }));
	await expect(page.getByText('126 shown')).toBeVisible();
	await page.reload();
	await expect(labels).toHaveValue('team=ops');
	await expect(page.getByRole('searchbox', { name: 'Filter jobs' })).toHaveValue('summarise');
	await expect(page.getByRole('row').nth(1)).toContainText('summarise-reports-604');
});

test('many jobs are cancelled at once, after a question that says how many', async ({
	page,
	orchestrator
}) => {
	orchestrator.load({
		nodes: [],
		deployments: [],
		jobs: Array.from({ length: 120 }, (_, index) =>
			job(index, index < 100 ? 'JOB_STATE_QUEUED' : 'JOB_STATE_SUCCEEDED')
		)
	});
	await page.goto('/jobs');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	const bar = page.getByRole('group', { name: 'Selected jobs' });
	await expect(bar).toContainText('120 jobs selected');
	await expect(bar.getByRole('button', { name: 'Retry 0' })).toBeDisabled();
	// One less.
	await page.getByRole('checkbox', { name: 'Select summarise-reports-0', exact: true }).uncheck();
	await bar.getByRole('button', { name: 'Cancel 99' }).click();
	const dialog = page.getByRole('dialog');
	await expect(dialog).toContainText('Cancel 99 jobs?');
	await dialog.getByRole('button', { name: 'Keep' }).click();
	expect(orchestrator.calls).toEqual([]);
	await bar.getByRole('button', { name: 'Cancel 99' }).click();
	await dialog.getByRole('button', { name: 'Cancel 99 jobs' }).click();
	await expect(page.getByText('99 jobs cancelled')).toBeVisible();
	await expect(bar).toHaveCount(0);
	expect(orchestrator.calls).toHaveLength(99);
	expect(orchestrator.jobs.filter((one) => one.state === 'JOB_STATE_QUEUED')).toHaveLength(1);
});

test('what leaves a filtered list by being retried is retried to the end', async ({
	page,
	orchestrator
}) => {
	orchestrator.load({
		nodes: [],
		deployments: [],
		jobs: Array.from({ length: 60 }, (_, index) => job(index, 'JOB_STATE_FAILED'))
	});
	await page.goto('/jobs?state=JOB_STATE_FAILED');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	await page.getByRole('button', { name: 'Retry 60' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Retry 60 jobs' }).click();
	await expect(page.getByText('60 jobs queued again')).toBeVisible();
	await expect(page.getByText('No job matches')).toBeVisible();
	expect(orchestrator.calls).toHaveLength(60);
});

test('cancelling asks first and sends a reason', async ({ page, orchestrator }) => {
	const id = orchestrator.jobs[0]?.id ?? '';
	await page.goto(`/jobs/${id}`);
	await page.getByRole('button', { name: 'Cancel', exact: true }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Cancel job' }).click();
	await expect(page.locator('#main header').getByText('cancelled')).toBeVisible();
	expect(orchestrator.calls).toEqual([
		{
			method: 'POST',
			path: `/api/jobs/${id}:cancel`,
			body: { reason: 'cancelled in the dashboard' }
		}
	]);
	await page.getByRole('button', { name: 'Retry' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Leave it' }).click();
	expect(orchestrator.calls).toHaveLength(1);
	await page.getByRole('button', { name: 'Retry' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Retry job' }).click();
	await expect(page.locator('#main header').getByText('queued')).toBeVisible();
});

test.describe('an action that is refused', () => {
	test.use({ networkErrors: true });

	test('shows the API’s message in a toast, which can be dismissed', async ({
		page,
		orchestrator
	}) => {
		const failed = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_FAILED');
		orchestrator.failures = [
			{
				prefix: `POST /api/jobs/${failed?.id}:retry`,
				status: 400,
				body: { code: 9, message: 'the job is RUNNING', details: [] }
			}
		];
		await page.goto(`/jobs/${failed?.id}`);
		await page.getByRole('button', { name: 'Retry' }).click();
		await page.getByRole('dialog').getByRole('button', { name: 'Retry job' }).click();
		const toast = page.getByRole('alert').filter({ hasText: 'Could not retry the job' });
		await expect(toast).toContainText('the job is RUNNING');
		await toast.getByRole('button', { name: 'Dismiss' }).click();
		await expect(toast).toHaveCount(0);
	});

	test('is counted among many, and the others are done', async ({ page, orchestrator }) => {
		const failed = orchestrator.jobs.filter((one) => one.state === 'JOB_STATE_FAILED');
		orchestrator.failures = [
			{
				prefix: `POST /api/jobs/${failed[0]?.id}:retry`,
				status: 400,
				body: { code: 9, message: 'the job is RUNNING', details: [] }
			}
		];
		await page.goto('/jobs?state=JOB_STATE_FAILED');
		await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
		await page.getByRole('button', { name: 'Retry 3' }).click();
		await page.getByRole('dialog').getByRole('button', { name: 'Retry 3 jobs' }).click();
		const toast = page
			.getByRole('alert')
			.filter({ hasText: '1 job of 3 could not be queued again' });
		await expect(toast).toContainText('the job is RUNNING');
		expect(orchestrator.calls).toHaveLength(2);
		// What was refused is still selected.
		await expect(page.getByRole('group', { name: 'Selected jobs' })).toContainText(
			'1 job selected'
		);
	});
});

test.describe('a job that is not there', () => {
	test.use({ networkErrors: true });

	test('says so', async ({ page }) => {
		await page.goto('/jobs/nothing');
		await expect(page.getByText('There is no job “nothing”')).toBeVisible();
		await expect(page.getByText('job "nothing" is not known')).toBeVisible();
	});
});
