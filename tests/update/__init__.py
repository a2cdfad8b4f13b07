"""What `copier update` does to a project, from every released version to this one."""
