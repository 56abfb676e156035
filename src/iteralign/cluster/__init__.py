"""Ray, as far as it has nothing to do with what runs on it: started or joined, and where its processes are."""
