package deploy

// Hash is the deploy hash that the job would publish.
func (j *Job) Hash() Hash { return j.hash() }
