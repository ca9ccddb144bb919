// Runs before the first paint so that a dark page never flashes white. It is a file of its own,
// not inline, because the content security policy allows no inline scripts.
(function () {
	var theme = 'system';
	try {
		theme = localStorage.getItem('orchion.theme') || 'system';
	} catch {
		// Storage is blocked: follow the system.
	}
	var dark =
		theme === 'dark' || (theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
	document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
